// Passkeys: what the server wants signed comes as JSON, and goes back as two
// fields of the form that wanted it. The form itself is then sent as ever.

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  buffer ? btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "") : undefined;

async function begin(path, fields) {
  const answer = await fetch(path, { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(fields) });
  if (!(answer.headers.get("Content-Type") || "").startsWith("application/json")) throw new Error("You are signed out here. Open the page again.");
  const { options, dialogue, error } = await answer.json();
  if (error) throw new Error(error);
  return { options: options.publicKey, dialogue };
}

function put(form, name, value) {
  let field = form.elements.namedItem(name);
  if (!field) {
    field = Object.assign(document.createElement("input"), { type: "hidden", name });
    form.append(field);
  }
  field.value = value;
}

// sign lets a passkey sign for the act of the form, or for signing in.
async function sign(path, fields) {
  const { options, dialogue } = await begin(path, fields);
  options.challenge = bytes(options.challenge);
  for (const c of options.allowCredentials || []) c.id = bytes(c.id);
  const { id, rawId, type, response: r } = await navigator.credentials.get({ publicKey: options });
  const response = { clientDataJSON: text(r.clientDataJSON), authenticatorData: text(r.authenticatorData), signature: text(r.signature), userHandle: text(r.userHandle) };
  return { dialogue, assertion: JSON.stringify({ id, rawId: text(rawId), type, response, clientExtensionResults: {} }) };
}

// make registers a new passkey on this device.
async function make(path, fields) {
  const { options, dialogue } = await begin(path, fields);
  options.challenge = bytes(options.challenge);
  options.user.id = bytes(options.user.id);
  for (const c of options.excludeCredentials || []) c.id = bytes(c.id);
  const { id, rawId, type, response: r } = await navigator.credentials.create({ publicKey: options });
  const response = { clientDataJSON: text(r.clientDataJSON), attestationObject: text(r.attestationObject), transports: r.getTransports?.() };
  return { new_dialogue: dialogue, attestation: JSON.stringify({ id, rawId: text(rawId), type, response, clientExtensionResults: {} }) };
}

function why(error) {
  if (error.name === "NotAllowedError") return "No passkey was used: it was stopped, or there is none for this page here.";
  if (error.name === "InvalidStateError") return "This device has a passkey for this page already.";
  return error.message;
}

// complain says beside the form what went wrong.
function complain(form, error) {
  let line = form.querySelector("[data-passkey-error]");
  if (!line) {
    line = Object.assign(document.createElement("p"), { className: "error", role: "alert" });
    line.dataset.passkeyError = "";
    form.append(line);
  }
  line.textContent = why(error);
  line.hidden = false;
}

const sent = (form) => HTMLFormElement.prototype.submit.call(form);

async function fill(form, work) {
  document.body.dataset.busy = "passkey"; // the form must not be replaced meanwhile
  try {
    for (const [name, value] of Object.entries(await work())) put(form, name, value);
    return true;
  } catch (error) {
    delete document.body.dataset.busy;
    complain(form, error);
    return false;
  }
}

// useInstead answers a form with a passkey in place of its code. What else the
// form asks for is looked at first.
export async function useInstead(form) {
  const code = form.elements.namedItem("code");
  if (code) code.required = false;
  const ok = form.reportValidity();
  if (code) code.required = true;
  if (!ok || !(await fill(form, () => sign("/passkey/begin", { for: new URL(form.action).pathname })))) return;
  if (code) code.value = "";
  // A form that makes a passkey goes on to make it.
  if (form.dataset.newPasskey) await register(form);
  else sent(form);
}

export async function register(form) {
  const invite = form.elements.namedItem("invite");
  if (await fill(form, () => make(form.dataset.newPasskey, invite ? { invite: invite.value } : {}))) sent(form);
}

export async function signIn(form) {
  if (await fill(form, () => sign("/sign-in/passkey/begin", {}))) sent(form);
}
