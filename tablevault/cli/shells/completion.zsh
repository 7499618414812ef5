#compdef tablevault
_tablevault() {
    local -a answer
    answer=("${(@f)$(tablevault __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ ${answer[1]-} == :files ]]; then
        _files
    else
        compadd -- ${answer:#}
    fi
}
if (( ! ${+functions[compdef]} )); then
    autoload -Uz compinit && compinit
fi
compdef _tablevault tablevault
