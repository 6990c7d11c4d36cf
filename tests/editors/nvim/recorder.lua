-- Notes what each redraw shows, and what users are told. Runs inside the Neovim under test.
_G.screens, _G.notified, _G.settled = {}, {}, 0

local NAMESPACES = { "tersely", "nvim.lsp.inline_completion" }

function _G.ghost()
  local lines, row, col = {}, nil, nil
  for _, name in ipairs(NAMESPACES) do
    for _, mark in
      ipairs(vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace(name), 0, -1, { details = true }))
    do
      row, col = mark[2], mark[3]
      for _, chunks in ipairs(vim.list_extend({ mark[4].virt_text or {} }, mark[4].virt_lines or {})) do
        local line = ""
        for _, chunk in ipairs(chunks) do
          line = line .. chunk[1]
        end
        lines[#lines + 1] = line
      end
    end
  end
  return { text = table.concat(lines, "\n"), row = row, col = col }
end

vim.api.nvim_set_decoration_provider(vim.api.nvim_create_namespace("recorder"), {
  on_win = function()
    local ghost, cursor = _G.ghost(), vim.api.nvim_win_get_cursor(0)
    _G.screens[#_G.screens + 1] = {
      line = vim.api.nvim_get_current_line(),
      col = cursor[2],
      ghost = ghost.text,
      at_cursor = ghost.text == "" or (ghost.row == cursor[1] - 1 and ghost.col == cursor[2]),
    }
  end,
})

vim.keymap.set({ "n", "i" }, "<F12>", function()
  _G.settled = _G.settled + 1
end)

vim.notify = function(message, level)
  _G.notified[#_G.notified + 1] = message
  _G.notified_level = level
end
vim.notify_once = vim.notify
