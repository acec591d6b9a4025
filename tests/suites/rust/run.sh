# tokio-nsq's tests, with the servers of its docker-compose.yml, each at the address that `hosts`
# gives to its name. Flags for nsqd may come in NSQD_FLAGS.
cd tokio-nsq
mkdir /tmp/nsq /tmp/nsqwithauth

at() { echo "--tcp-address=$1:$2 --http-address=$1:$3 --broadcast-address=$1"; }

# shellcheck disable=SC2046,SC2086 # The words are flags.
{
  nsqlookupd $(at nsqlookupd 4160 4161) >/tmp/nsqlookupd.log 2>&1 &
  node auth.js >/tmp/nsqauth.log 2>&1 &
  nsqd $(at nsq 4150 4151) --data-path=/tmp/nsq --lookupd-tcp-address=nsqlookupd:4160 \
    --tls-cert=keys/cert.pem --tls-key=keys/key.pem ${NSQD_FLAGS:-} >/tmp/nsq.log 2>&1 &
  nsqd $(at nsqwithauth 4150 4151) --data-path=/tmp/nsqwithauth \
    --auth-http-address=nsqauth:8080 >/tmp/nsqwithauth.log 2>&1 &
}

for address in nsqlookupd/4161 nsqauth/8080 nsq/4150 nsqwithauth/4150; do
  for _ in {1..100}; do
    (: >"/dev/tcp/$address") 2>/dev/null && continue 2
    sleep 0.1
  done
  echo "nobody listens at $address" >&2
  exit 1
done

../unit
exec ../live
