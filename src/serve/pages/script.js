// Reads the page again every five seconds while somebody looks at it and types nothing.
const again = async () => {
  const typing = document.activeElement && ["INPUT", "SELECT"].includes(document.activeElement.tagName);
  const still = document.querySelector("[data-still]");
  if (!document.hidden && !typing && !still && !getSelection().toString()) {
    try {
      const answer = await fetch(location.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (answer.ok && fresh) document.querySelector("main").replaceWith(fresh);
    } catch { /* the daemon restarts: the next round finds it */ }
  }
  setTimeout(again, 5000);
};
setTimeout(again, 5000);
