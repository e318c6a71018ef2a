" Acepilot in Vim, through llama.vim in ~/.vim/pack/acepilot/opt: source this from ~/.vimrc. See docs/editors/vim.md.
let g:llama_config = {
    \ 'endpoint_fim': 'http://127.0.0.1:8010/infill',
    \ 'api_key': $ACEPILOT_TOKEN,
    \ 'show_info': 0,
    \ }
" silent, and late: below Vim 9.1 the plugin warns at every start, and Vim would wait for Enter.
autocmd VimEnter * silent packadd llama.vim
