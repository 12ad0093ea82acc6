# Read by fish (XDG_DATA_DIRS). It marks where prompts and commands begin and end (OSC
# 133) and says the folder (OSC 7), where fish does not by itself (before version 4).
if set -q STAITHE_XDG_DATA_DIRS
    set -gx XDG_DATA_DIRS $STAITHE_XDG_DATA_DIRS
    set -e STAITHE_XDG_DATA_DIRS
else
    set -e XDG_DATA_DIRS
end
if status is-interactive; and string match -qr '^[0-3]\.' -- $version
    function __staithe_folder --on-variable PWD
        printf '\e]7;file://%s%s\a' $hostname (string escape --style=url -- $PWD)
    end
    function __staithe_prompt --on-event fish_prompt
        printf '\e]133;A\a'
        set -q __staithe_told; or __staithe_folder
        set -g __staithe_told
    end
    function __staithe_begins --on-event fish_preexec
        printf '\e]133;C;cmdline_url=%s\a' (string escape --style=url -- (string sub -l 1000 -- "$argv"))
    end
    function __staithe_ended --on-event fish_postexec
        printf '\e]133;D;%s\a' $status
    end
end
