# The page of an exploration in a browser: it draws, keys move through the points, choices change it, and nothing goes wrong on its console.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
command -v chromium >/dev/null || skip "no chromium"

ok explore default --weights 2,4 --sparsity 0,0.5 --geometry 4x8x8x2,8x8x8x2 --count 60 --calib-count 16 --method rtn --no-area --memory fit,extern=0 -o study --objectives accuracy,array_time

# The page with a user behind it: what it found goes into the body's attributes.
cat >user.html <<'END'
<script>
window.addEventListener('load', () => {
  const out = {}, point = () => document.activeElement.dataset.i, key = k => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: k, bubbles: true, cancelable: true }));
  out.points = document.querySelectorAll('.pt').length;
  out.rows = document.querySelectorAll('#rows tr').length;
  out.front = document.querySelectorAll('path.front').length;
  const tabbed = document.querySelectorAll('.pt[tabindex="0"]');
  out.tabstops = tabbed.length;
  tabbed[0].focus();
  key('Home'); const first = point(); key('ArrowRight'); const second = point(); key('End'); const last = point(); key('ArrowRight');
  out.moves = first !== undefined && first !== second && second !== last && point() === last;
  out.detail = document.querySelector('#detail code').textContent.startsWith('heddle point default ') && document.querySelectorAll('#detail .stack').length >= 5;
  out.reasons = /waiting|unused|busy|start/.test(document.getElementById('detail').textContent);
  const change = (id, f) => { const e = document.getElementById(id); f(e); e.dispatchEvent(new Event('change', { bubbles: true })); };
  change('x', e => { e.value = 'bytes'; });
  out.axis = /stored weights/i.test(document.getElementById('plot').textContent);
  change('xlog', e => { e.checked = !e.checked; });
  change('by', e => { e.value = 'geometry'; });
  out.legend = /8x8x8x2/.test(document.getElementById('legend').textContent);
  const box = document.querySelector('#filters input'); box.checked = false; box.dispatchEvent(new Event('change', { bubbles: true }));
  out.filtered = document.querySelectorAll('.pt').length;
  box.checked = true; box.dispatchEvent(new Event('change', { bubbles: true }));
  document.querySelector('[data-sort="accuracy"]').click();
  out.sorted = document.querySelector('[aria-sort="descending"]') !== null;
  const names = [...document.querySelectorAll('.pt')].every(g => g.getAttribute('aria-label'));
  out.named = names;
  for (const [k, v] of Object.entries(out)) document.body.setAttribute('data-user-' + k, v);
});
</script>
END
# A script's end tag within the data would end it early; the page must have escaped it.
cat study/index.html user.html >page.html
timeout 100 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir="$PWD/profile" --window-size=1400,1500 --virtual-time-budget=4000 \
    --enable-logging=stderr --dump-dom "file://$PWD/page.html" >dom 2>log || fail "chromium: $(tail -n 3 log)"
grep -E "CONSOLE|Uncaught" log && fail "the page says something on its console"
got() { grep -o "data-user-$1=\"[^\"]*\"" dom | head -n 1 | cut -d'"' -f2; }
for row in points:8 rows:8 front:1 tabstops:1 moves:true detail:true reasons:true axis:true legend:true filtered:4 sorted:true named:true; do
    [ "$(got ${row%:*})" = "${row#*:}" ] || fail "${row%:*}: found '$(got ${row%:*})', wanted '${row#*:}'"
done
timeout 100 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir="$PWD/profile" --window-size=1400,1500 --screenshot="$PWD/page.png" "file://$PWD/study/index.html" >/dev/null 2>&1
[ "$(stat -c %s page.png 2>/dev/null || echo 0)" -gt 40000 ] || fail "the screenshot shows little: $(stat -c %s page.png 2>/dev/null) bytes"
finish
