# nsqjs's tests, as its package's `npm test` runs them but for two things: they go on after a
# failure, and tell what they found as JSON. They start nsqd by name.
cd node_modules/nsqjs
../.bin/mocha --reporter json --reporter-option output=/tmp/results.json >&2 || true
exec cat /tmp/results.json
