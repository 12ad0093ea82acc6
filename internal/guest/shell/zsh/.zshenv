# Read by zsh first (ZDOTDIR). It puts ZDOTDIR back, reads the person's own file, and
# marks where prompts and commands begin and end (OSC 133) and says the folder (OSC 7).
if [[ -n ${STAITHE_ZDOTDIR+x} ]]; then
	export ZDOTDIR=$STAITHE_ZDOTDIR
	unset STAITHE_ZDOTDIR
else
	unset ZDOTDIR
fi
# Before the person's files, whose options may change how this is read.
if [[ -o interactive ]]; then
	__staithe_escaped() {
		emulate -L zsh -o no_multibyte
		local c out=
		for c in ${(s::)1}; do
			if [[ $c != [A-Za-z0-9/._~-] ]]; then
				printf -v c '%02X' "'$c"
				c=%${c[-2,-1]}
			fi
			out+=$c
		done
		print -rn -- $out
	}
	# PS1 is the person's, and may be exported: the prompt's mark is not put into it.
	__staithe_precmd() {
		local ended=$?
		{ emulate -L zsh -o no_xtrace; trap - DEBUG } 2>/dev/null
		__staithe_hooks
		__staithe_says $'\e]133;D;'"$ended"$'\a\e]7;file://'"$HOST$(__staithe_escaped "$PWD")"$'\a\e]133;A\a'
	}
	__staithe_preexec() {
		{ local kept=1; __staithe_kept "$1" || kept=; emulate -L zsh -o no_xtrace; trap - DEBUG } 2>/dev/null
		__staithe_hooks
		local line
		[[ -n $kept ]] || line=";cmdline_url=$(__staithe_escaped "${1[1,1000]}")"
		__staithe_says $'\e]133;C'"$line"$'\a'
	}
	# Whether a line is kept out of the history, by the person's options. An alias that
	# begins with a space does so too wherever it stands, and where another leads to it:
	# with one of them about, any line that an alias is in has none, rather than one too
	# many. The pattern may be none: it has a shell of its own.
	__staithe_kept() {
		local said
		[[ -o hist_ignore_space ]] && { [[ $1 == ' '* ]] || __staithe_spaced "$1" } || {
			[[ -n ${HISTORY_IGNORE-} ]] && said=$([[ $1 == ${~HISTORY_IGNORE} ]])
		}
	}
	__staithe_spaced() {
		emulate -L zsh
		[[ -n ${(M)aliases:# *} ]] || return
		local word
		for word in ${(z)1}; do
			(( ! ${+aliases[$word]} )) || return 0
		done
		return 1
	}
	# To where zsh puts its prompts: standard output may be a file by now.
	__staithe_says() {
		{ print -rn -- $1 >$TTY } 2>/dev/null
	}
	# Each of the two puts the other back where the person's lists are set anew.
	__staithe_hooks() {
		typeset -ga precmd_functions preexec_functions
		(( ${precmd_functions[(Ie)__staithe_precmd]} )) || precmd_functions=(__staithe_precmd $precmd_functions)
		(( ${preexec_functions[(Ie)__staithe_preexec]} )) || preexec_functions+=(__staithe_preexec)
	}
	# Before the first prompt, which is when the person's last file is read.
	__staithe_first() {
		{ emulate -L zsh -o no_xtrace } 2>/dev/null
		unfunction __staithe_first
		__staithe_precmd
	}
	sched +0 __staithe_first 2>/dev/null || precmd_functions+=(__staithe_first)
fi
# Where it sets err_exit, how it ends is no reason to end the shell.
[[ -r ${ZDOTDIR:-$HOME}/.zshenv ]] && source "${ZDOTDIR:-$HOME}/.zshenv" || :
