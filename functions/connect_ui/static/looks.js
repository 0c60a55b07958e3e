// Light or dark, and the colour that the environment has set.

import { embedded, query, schemeAround } from './host.js';

const darkSystem = window.matchMedia('(prefers-color-scheme: dark)');
let settings = {};

/** Paint the page as the address wishes, else as the settings say, else as the system is. */
export function paint(given = settings) {
  settings = given || {};
  const asked = query.get('theme');
  const wish = ['light', 'dark', 'system'].includes(asked) ? asked : settings.defaultTheme;
  const dark = wish === 'dark' || (wish !== 'light' && darkSystem.matches);
  const root = document.documentElement;
  root.dataset.theme = dark ? 'dark' : 'light';
  root.dataset.embedded = String(embedded || query.get('embedded') === 'true');
  root.style.colorScheme = embedded ? schemeAround() : root.dataset.theme;
  document.getElementById('mark').hidden = !settings.showWatermark;
  const primary = settings.theme?.[dark ? 'dark' : 'light']?.primary;
  if (primary && CSS.supports('color', primary)) {
    root.style.setProperty('--primary', primary);
    root.style.setProperty('--on-primary', readableOn(primary));
  }
}

darkSystem.addEventListener('change', () => paint());

/** Black or white, whichever reads better on a colour (WCAG 2 relative luminance). */
function readableOn(colour) {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  canvas.canvas.width = 1;
  canvas.canvas.height = 1;
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return 1.05 / (light + 0.05) >= (light + 0.05) / 0.05 ? '#ffffff' : '#0b0d10';
}
