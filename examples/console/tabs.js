// The tabs over the panels: the arrow keys move between them, as in any tab list.
"use strict";

function setUpTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];

  function select(tab) {
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
    }
    // A reload, or a link, comes back to the same panel.
    history.replaceState(null, "", `#${tab.id.replace("tab-", "")}`);
  }

  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const target = {
        ArrowRight: (index + 1) % tabs.length,
        ArrowLeft: (index + tabs.length - 1) % tabs.length,
        Home: 0,
        End: tabs.length - 1,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      select(tabs[target]);
      tabs[target].focus();
    });
  }
  const wanted = tabs.find((tab) => tab.id === `tab-${location.hash.slice(1)}`);
  if (wanted) select(wanted);
}

/** Show what went wrong below a panel's controls, or hide it again. */
function showNotice(id, text) {
  const notice = document.getElementById(id);
  notice.hidden = !text;
  notice.textContent = text;
}

/** Set a panel's state label; `state` is "closed", "pending" or "open" and gives its colour. */
function showState(id, state, text) {
  const label = document.getElementById(id);
  label.dataset.state = state;
  label.textContent = text;
}
