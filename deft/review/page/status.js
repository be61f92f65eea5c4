/** What happens, told: to the eye at the top and the bottom of the page, to screen readers in live regions. */

const SHOWN = 3500; // milliseconds of a short line
const find = (id) => document.getElementById(id);
let timer = 0;

/** Say a short line. */
export function tell(text, seen = true) {
  find("said").textContent = text;
  if (!seen) return;
  find("toast").textContent = text;
  find("toast").hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (find("toast").hidden = true), SHOWN);
}

/** Show whether everything is saved, and if not, why and what to do. */
export function saving(outbox) {
  const { state } = outbox;
  const left = outbox.changes.length;
  const few = `${left} ${left === 1 ? "change is" : "changes are"}`;
  const problems = {
    unreachable: `Not saved: the server does not answer. ${few} kept here and sent when it does. Start it again with deft review, then open the address it prints.`,
    locked: `Not saved: the server was started again and has a new address. Open the address it printed, or paste it here; ${few} kept and sent then.`,
    failing: `Not saved: ${outbox.problem}. ${few} kept here and tried again.`,
  };
  find("saving").dataset.state = state;
  find("saving").textContent = { saved: "Saved", saving: "Saving" }[state] ?? "Not saved";
  find("banner").hidden = !(state in problems);
  if (state in problems && find("banner-text").textContent !== problems[state]) find("banner-text").textContent = problems[state];
  if (!(state in problems)) find("banner-text").textContent = "";
  find("banner-form").hidden = state !== "locked";
}

/** How far the review is. */
export function progress(counts, total) {
  const done = counts.accepted + counts.corrected + counts.rejected;
  for (const name of ["accepted", "corrected", "rejected"]) {
    document.querySelector(`#progress .${name}`).style.width = `${total ? (100 * counts[name]) / total : 0}%`;
  }
  const text = `${done.toLocaleString("en")} of ${total.toLocaleString("en")} reviewed`;
  find("progress-text").textContent = text;
  const parts = ["accepted", "corrected", "rejected"].map((name) => `${counts[name]} ${name}`);
  find("progress").setAttribute("aria-label", `${text}: ${parts.join(", ")}`);
  find("progress").title = parts.join(", ");
}
