--- `:checkhealth tersely`.

local M = {}

local health = vim.health
local DOCTOR_MS = 30000

local function check_neovim()
  health.start("Neovim")
  if vim.fn.has("nvim-0.10") == 0 then
    health.error("Neovim is too old", "Update to 0.10 or newer.")
    return false
  end
  local config = require("tersely.config")
  if not config.ready() then
    health.error("tersely is not set up", 'Call require("tersely").setup() in your configuration.')
    return false
  end
  local ghost = config.get().ghost
  if ghost == "off" then
    health.warn("suggestions are not shown", 'Leave the option "ghost" out.')
  elseif config.native() then
    health.ok("suggestions are shown by Neovim's own inline completion")
  else
    health.ok("suggestions are shown by the plugin's own ghost text")
  end
  return true
end

--- Whether the server's command can be run.
local function check_command()
  health.start("Server")
  local words = require("tersely.config").command("--version")
  if vim.fn.executable(words[1]) == 0 then
    health.error(
      ("%s cannot be run"):format(words[1]),
      'Install tersely into an environment of its own, and give its path: setup({ cmd = { "…/bin/tersely", "lsp" } }).'
    )
    return false
  end
  local done = vim.system(words, { text = true }):wait(DOCTOR_MS)
  if done.code ~= 0 then
    health.error("the server does not start", vim.trim(done.stderr or ""))
    return false
  end
  health.ok(vim.trim(done.stdout))
  return true
end

local function check_doctor()
  local settings = require("tersely.config").get().settings
  local words = require("tersely.config").command("doctor", "--json")
  if settings.model then
    vim.list_extend(words, { "--model", settings.model })
  end
  local done = vim.system(words, { text = true }):wait(DOCTOR_MS)
  local read, findings = pcall(vim.json.decode, done.stdout or "")
  if not read or not vim.islist(findings) then
    health.warn("`tersely doctor` gave no answer", vim.trim(done.stderr or ""))
    return
  end
  local say = { ok = health.ok, warning = health.warn, failure = health.error }
  for _, finding in ipairs(findings) do
    local hint = finding.hint ~= "" and finding.hint or nil
    say[finding.verdict](("%s: %s"):format(finding.subject, finding.detail), hint)
  end
end

local function check_client()
  health.start("Client")
  local clients = vim.lsp.get_clients({ name = require("tersely.client").NAME })
  if #clients == 0 then
    health.info("no server is running; one is started with the first file of a known type")
  end
  for _, client in ipairs(clients) do
    local buffers = vim.tbl_count(client.attached_buffers)
    health.ok(("server %d serves %d buffers, encoding %s"):format(client.id, buffers, client.offset_encoding))
  end
  local status = require("tersely.status").get()
  if status then
    local say = status.kind == "Error" and health.error or health.info
    say(("%s %s"):format(status.message, status.hint or ""))
  end
end

local function check_keys()
  health.start("Keys")
  if vim.fn.hasmapto("<Plug>(tersely-accept)", "i") == 1 or require("tersely.config").get().keys.accept then
    health.ok("a key takes the suggestion")
  else
    health.warn("no key takes a suggestion", 'Map one: setup({ keys = { accept = "<Tab>" } }); see :help tersely-maps.')
  end
end

function M.check()
  if not check_neovim() then
    return
  end
  if check_command() then
    check_doctor()
  end
  check_client()
  check_keys()
end

return M
