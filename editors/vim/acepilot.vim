" Acepilot in Vim through llama.vim: put this before the plugin is loaded. See docs/editors/vim.md.
let g:llama_config = {
    \ 'endpoint_fim': 'http://127.0.0.1:8010/infill',
    \ 'api_key': $ACEPILOT_TOKEN,
    \ 'show_info': 0,
    \ }
