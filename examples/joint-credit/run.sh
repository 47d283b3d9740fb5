#!/usr/bin/env bash
# A bank and a shop score their customers jointly, and neither shows its columns to the other, nor to
# whoever runs the machine's programs: on a machine without SEV-SNP or TDX that last part is SIMULATED.
#
#   examples/joint-credit/run.sh [DIRECTORY]
#
# The data is the public file of Taiwanese card holders (taiwan_default.csv in SURETY_DATA, or in
# ../shared/data), split by columns; without it, synthetic merchants of the project's own generator.
# SURETY_BIN names the program (default: bin/surety), JOINT_ROWS cuts the data short.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
surety=${SURETY_BIN:-$root/bin/surety}
work=${1:-$(mktemp -d "${TMPDIR:-/tmp}/joint-credit.XXXXXX")}
rows=${JOINT_ROWS:-1000000}
mkdir -p "$work"
cd "$work"
began=$SECONDS
brokers=()
ended() { for pid in "${brokers[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" || true; done; }
trap ended EXIT

step() { printf '\n== %s (%d s)\n' "$1" $((SECONDS - began)); }
joint() { "$surety" enclave joint "$@"; }
refused() { # what has to be refused, and is an error of this script where it is not
  local said
  if said=$("$@" 2>&1); then echo "NOT REFUSED: $*"; exit 1; fi
  grep '^surety: ' <<<"$said" | tail -n 1 | sed 's/^surety: /   refused: /'
}

# split FILE COLUMNS OFFSET: some columns of a file, and nine of ten rows.
split() {
  awk -F, -v names="$2" -v off="$3" -v most="$rows" '
    { gsub(/"/, ""); sub(/\r$/, "") }
    NR == 1 { n = split(names, want, " "); for (i = 1; i <= NF; i++) at[$i] = i }
    NR > most + 1 { exit }
    NR == 1 || (NR + off) % 10 {
      line = $(at[want[1]]); for (i = 2; i <= n; i++) line = line "," $(at[want[i]]); print line }' "$1"
}

step "data: each party has nine of ten customers, and its own columns"
data=${SURETY_DATA:-$root/../shared/data}/taiwan_default.csv
if [ -f "$data" ]; then
  echo "the public file $(basename "$data")"
  terms=$here/terms-taiwan.json id=ID
  split "$data" "ID LIMIT_BAL EDUCATION PAY_0 default.payment.next.month" 0 >bank.csv
  split "$data" "ID BILL_AMT1 BILL_AMT2 BILL_AMT3 BILL_AMT4 BILL_AMT5 BILL_AMT6 PAY_AMT1 PAY_AMT2 PAY_AMT3 PAY_AMT4 PAY_AMT5 PAY_AMT6" 1 >shop.csv
else
  echo "taiwan_default.csv is not here (set SURETY_DATA): SYNTHETIC merchants instead"
  terms=$here/terms-merchant.json id=merchant
  joint sample --rows 10000 >people.csv
  split people.csv "merchant months_in_business existing_debt_minor late_payments_12m max_days_late_12m employees defaulted" 0 >bank.csv
  split people.csv "merchant monthly_turnover_minor turnover_trend_permille transactions_30d customers_90d active_days_90d refund_rate_permille chargebacks_90d" 1 >shop.csv
fi
wc -l bank.csv
wc -l shop.csv

step "parties: keys, and a key broker each, in a process of its own"
joint root --root machine >root.pem
simroot=root.pem
for party in bank shop; do
  joint init "$party" --name "$party" >/dev/null
  "$surety" -o json enclave broker run --dir "$party/broker" --name "$party-broker" --sim-root "$simroot" \
    >"$party-broker.json" 2>"$party-broker.log" &
  brokers+=($!)
done
url() { # of a party's broker, once it listens
  local tries=0
  until grep -q '"url"' "$1-broker.json" 2>/dev/null; do
    tries=$((tries + 1)); [ "$tries" -lt 300 ] || { cat "$1-broker.log"; exit 1; }
    sleep 0.1
  done
  grep -o 'http://[0-9.:]*' "$1-broker.json" | head -n 1
}
bank_broker=$(url bank) shop_broker=$(url shop)
echo "bank's at $bank_broker, shop's at $shop_broker"

step "contract: proposed, checked and signed by both"
joint propose "$terms" --party bank/party.json --party shop/party.json >/dev/null
refused joint run contract.cbor nothing --root machine --broker "bank-broker=$bank_broker" --broker "shop-broker=$shop_broker"
joint sign bank contract.cbor >/dev/null
joint sign shop contract.cbor

step "matching: who is a customer of both (guarantee: math)"
joint match shop contract.cbor --table shop.csv --id "$id" --listen 127.0.0.1:0 >shop-match.txt 2>shop-match.log &
matching=$!
tries=0
until at=$(grep -o '127\.0\.0\.1:[0-9]*' shop-match.log); do
  tries=$((tries + 1)); [ "$tries" -lt 300 ] || { cat shop-match.log; exit 1; }
  sleep 0.1
done
joint match bank contract.cbor --table bank.csv --id "$id" --connect "$at"
wait "$matching"

step "columns: sealed by each party, built into one enclave, admitted by each party"
for party in bank shop; do joint seal "$party" contract.cbor --table "$party.csv" --id "$id" >/dev/null; done
joint build contract.cbor --columns bank=bank --columns shop=shop
run=(joint run contract.cbor joint.bundle --root machine --tee sim
  --broker "bank-broker=$bank_broker" --broker "shop-broker=$shop_broker")
refused "${run[@]}" --out early # nobody has admitted it
for party in bank shop; do joint admit "$party" contract.cbor joint.bundle --sim-root "$simroot"; done

step "run: join, train, score, inside"
"${run[@]}" --out answer --evidence evidence

step "receipt: checked offline"
joint verify contract.cbor answer --sim-root "$simroot"
refused joint verify contract.cbor answer # simulated evidence, without naming its root

step "what the bank is told"
joint open bank contract.cbor answer metrics
joint open bank contract.cbor answer scores --table bank.csv --id "$id" >scores.csv && head -n 4 scores.csv
joint open bank contract.cbor answer reasons --table bank.csv --id "$id" >reasons.csv && head -n 4 reasons.csv
refused joint open shop contract.cbor answer scores

step "what it is worth, against plaintext in one place"
joint compare contract.cbor --dir bank=bank --dir shop=shop --table bank=bank.csv --table shop=shop.csv \
  --id "$id" --answer answer

step "refusals"
refused "${run[@]}" --out again                                               # the budget is one run,
refused joint admit bank contract.cbor joint.bundle --sim-root "$simroot" # and no new one is to be had
sed 's/customer/Customer/;s/merchant/Merchant/' contract.cbor >changed.cbor
refused joint show changed.cbor
joint withdraw shop
refused "${run[@]}" --out withdrawn
[ ! -e early ] && [ ! -e again ] && [ ! -e withdrawn ]

step "done; everything is in $work"
