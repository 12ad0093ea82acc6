# Read by bash in place of its own startup files (bash --posix, ENV), which it then
# reads as bash does. It marks where prompts and commands begin and end (OSC 133) and
# says the folder (OSC 7).
if [[ $- == *i* && -n ${STAITHE_SHELL-} ]]; then
	unset STAITHE_SHELL ENV
	set +o posix
	shopt -u inherit_errexit 2>/dev/null
	if [[ -n ${STAITHE_HISTFILE-} ]]; then # posix mode would have another
		unset STAITHE_HISTFILE
		export -n HISTFILE
	fi
	if [[ -n ${STAITHE_ENV-} ]]; then
		ENV=$STAITHE_ENV
		export ENV
		unset STAITHE_ENV
	fi
	if shopt -q login_shell; then
		[[ -r /etc/profile ]] && . /etc/profile
		for __staithe in ~/.bash_profile ~/.bash_login ~/.profile; do
			if [[ -r $__staithe ]]; then
				. "$__staithe"
				break
			fi
		done
		unset __staithe
	else
		[[ -r /etc/bash.bashrc ]] && . /etc/bash.bashrc
		[[ -r ~/.bashrc ]] && . ~/.bashrc
	fi

	__staithe_folder() {
		local c i out=$PWD LC_ALL=C
		if [[ $PWD == *[!A-Za-z0-9/._~-]* ]]; then
			out=
			for ((i = 0; i < ${#PWD}; i++)); do
				c=${PWD:i:1}
				if [[ $c != [A-Za-z0-9/._~-] ]]; then
					printf -v c '%02X' "'$c"
					c=%${c: -2} # a byte of 0x80 or more is negative
				fi
				out+=$c
			done
		fi
		printf '\e]7;file://%s%s\a' "$HOSTNAME" "$out"
	}

	# First of all that is done before a prompt: it sees how the command ended.
	__staithe_ended() {
		local status=$?
		printf '\e]133;D;%s\a' "$status"
		__staithe_folder
		return "$status"
	}

	# Last of all: others have made the prompt what it is.
	__staithe_marked() {
		[[ $PS1 == *'133;A'* ]] || PS1='\[\e]133;A\a\]'$PS1'\[\e]133;B\a\]'
		[[ ${PS0-} == *__staithe_begins* ]] || PS0='$(__staithe_begins)'${PS0-}
	}

	__staithe_begins() {
		local line
		line=$(HISTTIMEFORMAT= builtin history 1)
		[[ $line =~ ^[[:space:]]*[0-9]+\*?[[:space:]]+(.*)$ ]] && line=${BASH_REMATCH[1]}
		printf '\e]133;C;cmdline=%q\a' "${line:0:1000}"
	}

	if [[ ${PROMPT_COMMAND@a} == *a* ]]; then
		PROMPT_COMMAND=(__staithe_ended "${PROMPT_COMMAND[@]}" __staithe_marked)
	else
		PROMPT_COMMAND="__staithe_ended${PROMPT_COMMAND:+;$PROMPT_COMMAND}"$'\n__staithe_marked'
	fi
fi
