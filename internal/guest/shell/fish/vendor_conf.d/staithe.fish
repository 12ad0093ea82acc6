# Read by fish (XDG_DATA_DIRS). It marks where prompts and commands begin and end (OSC
# 133) and says the folder (OSC 7), where fish does not by itself (before version 4).
if set -q STAITHE_XDG_DATA_DIRS
    set -gx XDG_DATA_DIRS $STAITHE_XDG_DATA_DIRS
    set -e STAITHE_XDG_DATA_DIRS
else
    set -e XDG_DATA_DIRS
end
if status is-interactive; and string match -qr '^[0-3]\.' -- $version
    # The folder with the prompt, not with PWD: a cd may have its output in a file.
    function __staithe_prompt --on-event fish_prompt
        printf '\e]7;file://%s%s\a\e]133;A\a' $hostname (string escape --style=url -- "$PWD")
    end
    function __staithe_begins --on-event fish_preexec
        # Collected, as its lines would each be a command.
        set -l line (string sub -l 1000 -- "$argv" | string collect)
        printf '\e]133;C;cmdline_url=%s\a' (string escape --style=url -- "$line")
    end
    function __staithe_ended --on-event fish_postexec
        printf '\e]133;D;%s\a' $status
    end
end
