-- Health of Lectern's three kinds for Argo CD: they share their conditions, so one check serves all.
-- argocd-cm.yaml is made from this file (`make generate`). Argo CD runs it without the string library.

local function condition(name)
  local status = obj.status
  if status ~= nil and type(status.conditions) == "table" then
    for _, each in ipairs(status.conditions) do
      if each.type == name then
        return each
      end
    end
  end
  return { status = "Unknown" }
end

local function health(status, message)
  return { status = status, message = message or "" }
end

local ready = condition("Ready")
local stalled = condition("Stalled")
local observed = 0
if obj.status ~= nil and obj.status.observedGeneration ~= nil then
  observed = obj.status.observedGeneration
end

if obj.metadata.deletionTimestamp ~= nil then
  if stalled.status == "True" then
    return health("Degraded", stalled.message)
  end
  return health("Progressing", "is being deleted")
end
-- What an older generation was judged to be says nothing about this one.
if obj.metadata.generation ~= nil and observed < obj.metadata.generation then
  return health("Progressing", "the operator has not acted on this generation yet")
end
if stalled.status == "True" then
  return health("Degraded", stalled.message)
end
if obj.spec ~= nil and obj.spec.suspend == true then
  return health("Suspended", "spec.suspend is true")
end
if ready.status == "True" then
  return health("Healthy", ready.message)
end
return health("Progressing", ready.message or "the operator has not looked at it yet")
