function __tablevault
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (tablevault __complete $words[2..] 2>/dev/null)
    if test "$answer[1]" = :files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $answer
    end
end
complete -c tablevault -f -a '(__tablevault)'
