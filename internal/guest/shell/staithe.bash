# Read by bash in place of its own startup files (bash --posix, ENV), which it then
# reads as bash does. It marks where prompts and commands begin and end (OSC 133) and
# says the folder (OSC 7).
if [[ $- == *i* && -n ${STAITHE_SHELL-} ]]; then
	unset STAITHE_SHELL ENV
	set +o posix
	shopt -u inherit_errexit 2>/dev/null || :
	[[ ${MAILCHECK-} != 600 ]] || MAILCHECK=60 # posix mode's
	if [[ -n ${STAITHE_HISTFILE-} ]]; then # posix mode would have another
		unset STAITHE_HISTFILE
		export -n HISTFILE
	fi
	if [[ -n ${STAITHE_ENV-} ]]; then
		ENV=$STAITHE_ENV
		export ENV
		unset STAITHE_ENV
	fi

	# What is put out goes where bash puts its prompts: standard output may be a file by
	# now. The first of each function's commands has set -x show nothing of it.

	# Before the person's files: set -a there would export these functions.
	__staithe_folder() {
		local dir=${PWD-}
		[[ $dir != *[!A-Za-z0-9/._~-]* ]] || dir=$({ __staithe_escaped "$dir"; } 3>&1 >/dev/null 2>&1)
		printf '\e]7;file://%s%s\a' "${HOSTNAME-}" "$dir" >&2
	}

	# In a shell of its own: a LC_ALL that is not installed cannot be put back. A readonly
	# one stays, and then what is not ASCII too. With set -T a DEBUG trap has its say there,
	# so the standard output is not the answer.
	__staithe_escaped() {
		set +x
		local c i out=
		local LC_ALL=C
		for ((i = 0; i < ${#1}; i++)); do
			c=${1:i:1}
			if [[ $c != [A-Za-z0-9/._~-] && (${LC_ALL-} == C || $c == [[:ascii:]]) ]]; then
				printf -v c '%02X' "'$c"
				c=%${c: -2} # a byte of 0x80 or more is negative
			fi
			out+=$c
		done
		printf '%s' "$out" >&3
	}

	# First of all that is done before a prompt: it sees how the command ended. Where
	# PROMPT_COMMAND is no array, what follows sees the same, but of a pipeline no more.
	__staithe_ended() {
		local status=$?
		{ local - && set +x; } 2>&-
		printf '\e]133;D;%s\a' "$status" >&2
		__staithe_folder
		[[ -z ${__staithe_whole-} ]] || __staithe_prompts
		return "$status"
	}

	# Last of all: history is as the command will find it. PS1 is the person's, and may
	# be exported: the prompt's mark is not put into it. A profile with set -a, or a
	# command, may have exported the others.
	__staithe_prompts() {
		{ local - && set +x; } 2>&-
		local begins='${__staithe_history+$(__staithe_begins)}'
		if shopt -q promptvars; then
			if [[ ${PS0-} != *"$begins"* && ! $(declare -p PS0 2>&1) =~ ^declare\ -[^\ ]*r ]]; then
				PS0=$begins${PS0-}
			fi
		elif [[ ${PS0-} == *"$begins"* ]]; then # it would be printed
			PS0=${PS0/"$begins"/}
		fi
		__staithe_history=$(__staithe_newest)
		export -n PROMPT_COMMAND PS0 __staithe_history
		printf '\e]133;A\a' >&2
	}

	# The history's last line without its time. Where the time's form is readonly the
	# line cannot be told from it.
	__staithe_newest() {
		if [[ -z ${HISTTIMEFORMAT-} ]]; then
			builtin history 1
		elif [[ ! $(declare -p HISTTIMEFORMAT) =~ ^declare\ -[^\ ]*r ]]; then
			HISTTIMEFORMAT= builtin history 1
		fi
	}

	# Whether a command that changes nothing in the history is the newest there again,
	# not one that is kept out.
	__staithe_repeats() {
		local control=:${HISTCONTROL-}:
		[[ -o history && -z ${HISTIGNORE-} && $control == *:@(ignoredups|erasedups):* &&
			$control != *:@(ignorespace|ignoreboth):* ]]
	}

	__staithe_begins() {
		{ set +x; } 2>&- # in a shell of its own
		local line
		line=$(__staithe_newest)
		if [[ $line == "$__staithe_history" ]] && ! __staithe_repeats; then
			line=
		fi
		if [[ $line =~ ^[[:space:]]*[0-9]+\*?[[:space:]]+(.+)$ ]]; then
			printf '\e]133;C;cmdline=%q\a' "${BASH_REMATCH[1]:0:1000}"
		else
			printf '\e]133;C\a'
		fi
	}

	# Where these set -e, how a file ends is no reason to end the shell.
	if shopt -q login_shell; then
		[[ -r /etc/profile ]] && . /etc/profile || :
		for __staithe in ~/.bash_profile ~/.bash_login ~/.profile; do
			if [[ -r $__staithe ]]; then
				. "$__staithe" || :
				break
			fi
		done
		unset __staithe
	else
		[[ -r /etc/bash.bashrc ]] && . /etc/bash.bashrc || :
		[[ -r ~/.bashrc ]] && . ~/.bashrc || :
	fi

	# A shell that gets this from the environment all the same has no such functions. The
	# status of && ends no shell with set -e.
	__staithe_history=
	__staithe_first='case ${__staithe_history+x} in x) __staithe_ended && :; esac'
	__staithe_last='case ${__staithe_history+x} in x) __staithe_prompts; esac'
	# A DEBUG trap would see what is last, after the person's own. Then all is done first,
	# unless that changes the history (atuin has a history -s for a key). bash-preexec sets
	# its trap at the first prompt.
	__staithe_preexec=${__bp_imported-}${bash_preexec_imported-}
	if [[ -n $(trap -p DEBUG)$__staithe_preexec &&
		${PROMPT_COMMAND[*]-} != *'history -'[ps]* && ${PROMPT_COMMAND[*]-}$(declare -f) != *'history -'[cdnr]* ]]; then
		__staithe_whole=1
		__staithe_last=
	fi
	__staithe=$(declare -p PROMPT_COMMAND 2>&1 || :)
	if [[ $__staithe =~ ^declare\ -[^\ ]*r ]]; then
		: # what is readonly stays as it is
	elif [[ $__staithe =~ ^declare\ -[^\ ]*a ]]; then
		if [[ -n $__staithe_preexec ]]; then # it rewrites the first
			PROMPT_COMMAND[0]=$__staithe_first$'\n'${PROMPT_COMMAND[0]-}
		else
			PROMPT_COMMAND=("$__staithe_first" "${PROMPT_COMMAND[@]}")
		fi
		PROMPT_COMMAND+=(${__staithe_last:+"$__staithe_last"})
	else
		PROMPT_COMMAND=$__staithe_first$'\n'${PROMPT_COMMAND-}${__staithe_last:+$'\n'$__staithe_last}
	fi
	unset __staithe __staithe_first __staithe_last __staithe_preexec
	export -n PROMPT_COMMAND __staithe_history __staithe_whole
fi
