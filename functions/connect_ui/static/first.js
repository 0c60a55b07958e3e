// Runs before anything is painted: in a frame the page takes no dark scheme of its own accord, since
// browsers paint an opaque sheet behind a frame whose scheme its host has not.
document.documentElement.dataset.framed = String(window.parent !== window);
