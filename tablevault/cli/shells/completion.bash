_tablevault() {
    local -a words answer
    words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    local last=${COMP_WORDS[COMP_CWORD]-} each
    words=("${words[@]//[\\\"\']/}")
    mapfile -t answer < <(tablevault __complete "${words[@]}" 2>/dev/null)
    COMPREPLY=()
    if [[ ${answer[0]-} == :files ]]; then
        compopt -o default
        return 0
    fi
    for each in ${answer[@]+"${answer[@]}"}; do
        case $last in
            [\"\']*) COMPREPLY+=("$each") ;;
            *) COMPREPLY+=("$(printf %q "$each")") ;;
        esac
    done
}
complete -F _tablevault tablevault
