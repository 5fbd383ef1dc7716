// Shares a text with the page's address: by the system's own way where the browser has one, else by the clipboard.
async (text) => {
  const url = location.origin + location.pathname;
  try {
    if (navigator.share) {
      await navigator.share({ text, url });
      return "Shared.";
    }
  } catch (error) {
    if (error.name === "AbortError") return ""; // the visitor changed their mind
  }
  try {
    await navigator.clipboard.writeText(`${text} ${url}`);
    return "Copied. Paste it where you like.";
  } catch {
    return "This browser lets no page copy: select the text above.";
  }
};
