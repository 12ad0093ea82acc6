# Read by zsh first (ZDOTDIR). It puts ZDOTDIR back, reads the person's own file, and
# marks where prompts and commands begin and end (OSC 133) and says the folder (OSC 7).
if [[ -n ${STAITHE_ZDOTDIR+x} ]]; then
	export ZDOTDIR=$STAITHE_ZDOTDIR
	unset STAITHE_ZDOTDIR
else
	unset ZDOTDIR
fi
[[ -r ${ZDOTDIR:-$HOME}/.zshenv ]] && source "${ZDOTDIR:-$HOME}/.zshenv"
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
	__staithe_precmd() {
		local ended=$?
		print -rn -- $'\e]133;D;'$ended$'\a\e]7;file://'$HOST"$(__staithe_escaped $PWD)"$'\a'
		[[ $PS1 == *'133;A'* ]] || PS1=$'%{\e]133;A\a%}'$PS1$'%{\e]133;B\a%}'
		return $ended
	}
	__staithe_preexec() { print -rn -- $'\e]133;C;cmdline_url='"$(__staithe_escaped ${1[1,1000]})"$'\a' }
	typeset -ga precmd_functions preexec_functions
	precmd_functions+=(__staithe_precmd)
	preexec_functions+=(__staithe_preexec)
fi
