// Light or dark: what the reader chose here, else what their system says.
//
// Knows the attribute `data-theme` of the document, by which style.css picks its colours. It is no
// module: it runs before the first line is painted, so that a dark page never flashes white.

(() => {
  const KEY = 'nsqadmin.theme';
  const CHOICES = ['auto', 'light', 'dark'];

  /** Storage may be forbidden; then a choice lasts as long as the page. */
  function stored() {
    try {
      const found = localStorage.getItem(KEY);
      return CHOICES.includes(found) ? found : 'auto';
    } catch {
      return 'auto';
    }
  }

  let choice = stored();

  function apply() {
    document.documentElement.dataset.theme = choice;
  }

  window.nsqadminTheme = {
    choice: () => choice,
    /** From one to the next, round and round. */
    next() {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      try {
        localStorage.setItem(KEY, choice);
      } catch {
        // It stays chosen until the page is left.
      }
      apply();
      return choice;
    },
  };
  apply();
})();
