# Read by fish (XDG_DATA_DIRS). It marks where prompts and commands begin and end (OSC
# 133) and says the folder (OSC 7), where fish does not by itself (before version 4).
# Of XDG_DATA_DIRS only our own entry goes: the person's files may have changed it by now.
if set -q XDG_DATA_DIRS
    set -l ours (string replace -r '/fish/vendor_conf\.d/[^/]*$' '' -- (status filename))
    set -l rest
    for dir in (string split -- : $XDG_DATA_DIRS)
        test "$dir" = "$ours"; or set rest $rest $dir
    end
    set rest (string join -- : $rest)
    if test -z "$STAITHE_XDG_DATA_DIRS"; and test "$rest" = /usr/local/share:/usr/share
        set rest $STAITHE_XDG_DATA_DIRS
    end
    set -q rest[1]; and set -gx XDG_DATA_DIRS $rest; or set -e XDG_DATA_DIRS
end
set -e STAITHE_XDG_DATA_DIRS
if status is-interactive; and string match -qr '^[0-3]\.' -- $version
    # The folder with the prompt, not with PWD: a cd may have its output in a file.
    function __staithe_prompt --on-event fish_prompt
        printf '\e]7;file://%s%s\a\e]133;A\a' $hostname (string escape --style=url -- "$PWD")
    end
    function __staithe_begins --on-event fish_preexec
        # Collected, as its lines would each be a command.
        set -l line (string sub -l 1000 -- "$argv" | string collect)
        if set -q fish_private_mode; or string match -q ' *' -- "$line"
            printf '\e]133;C\a' # it is not in the history either
        else
            printf '\e]133;C;cmdline_url=%s\a' (string escape --style=url -- "$line")
        end
    end
    function __staithe_ended --on-event fish_postexec
        printf '\e]133;D;%s\a' $status
    end
end
