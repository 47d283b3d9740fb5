#!/usr/bin/env bash
# A bank and a shop score their customers jointly with no enclave at all: by shares. Neither shows its
# columns to the other, and no machine and no operator beside their own has to be trusted. Every result
# says "math".
#
#   examples/joint-credit/math.sh [DIRECTORY]
#
# The data is that of run.sh: the public file of Taiwanese card holders, or synthetic merchants without
# it. SURETY_BIN names the program (default: bin/surety), JOINT_ROWS cuts the data short.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
surety=${SURETY_BIN:-$root/bin/surety}
work=${1:-$(mktemp -d "${TMPDIR:-/tmp}/joint-math.XXXXXX")}
rows=${JOINT_ROWS:-1000000}
mkdir -p "$work"
cd "$work"
began=$SECONDS
other=
ended() { [ -z "$other" ] || { kill "$other" 2>/dev/null && wait "$other" || true; }; }
trap ended EXIT

step() { printf '\n== %s (%d s)\n' "$1" $((SECONDS - began)); }
joint() { "$surety" enclave joint "$@"; }
refused() { # what has to be refused, and is an error of this script where it is not
  local said
  if said=$("$@" 2>&1); then echo "NOT REFUSED: $*"; exit 1; fi
  tail -n 2 <<<"$said" | sed 's/^/   refused: /'
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

# together VERB [SHOP]: the shop waits in the background, the bank goes to it; both have to end well.
together() {
  local verb=$1 shop=${2:-shop} tries=0 status=0 at
  joint "$verb" "$shop" contract.cbor --table shop.csv --id "$id" --listen 127.0.0.1:0 "${shop_flags[@]}" \
    >"shop-$verb.txt" 2>"shop-$verb.log" &
  other=$!
  until at=$(grep -o '127\.0\.0\.1:[0-9]*' "shop-$verb.log"); do
    tries=$((tries + 1)); [ "$tries" -lt 300 ] || { cat "shop-$verb.log"; exit 1; }
    sleep 0.1
  done
  joint "$verb" bank contract.cbor --table bank.csv --id "$id" --connect "$at" "${bank_flags[@]}" || status=$?
  wait "$other" || status=$?
  other=
  return "$status"
}

step "data: each party has nine of ten customers, and its own columns"
data=${SURETY_DATA:-$root/../shared/data}/taiwan_default.csv
if [ -f "$data" ]; then
  echo "the public file $(basename "$data")"
  terms=$here/terms-math-taiwan.json id=ID
  split "$data" "ID LIMIT_BAL EDUCATION PAY_0 default.payment.next.month" 0 >bank.csv
  split "$data" "ID BILL_AMT1 BILL_AMT2 BILL_AMT3 BILL_AMT4 BILL_AMT5 BILL_AMT6 PAY_AMT1 PAY_AMT2 PAY_AMT3 PAY_AMT4 PAY_AMT5 PAY_AMT6" 1 >shop.csv
else
  echo "taiwan_default.csv is not here (set SURETY_DATA): SYNTHETIC merchants instead"
  terms=$here/terms-math-merchant.json id=merchant
  joint sample --rows 10000 >people.csv
  split people.csv "merchant months_in_business existing_debt_minor late_payments_12m max_days_late_12m employees defaulted" 0 >bank.csv
  split people.csv "merchant monthly_turnover_minor turnover_trend_permille transactions_30d customers_90d active_days_90d refund_rate_permille chargebacks_90d" 1 >shop.csv
fi
wc -l bank.csv shop.csv | head -n 2

step "parties and contract: no program, no machine; signed by both"
for party in bank shop; do joint init "$party" --name "$party" >/dev/null; done
joint propose "$terms" --party bank/party.json --party shop/party.json >/dev/null
joint sign bank contract.cbor >/dev/null
joint sign shop contract.cbor

shop_flags=() bank_flags=()
step "matching: who is a customer of both"
together match

shop_flags=(--out told) bank_flags=(--out answer)
step "by shares: fit, score"
together math
echo "-- and the shop was told:"
cat shop-math.txt

step "receipts: one of each party, checked offline"
joint verify contract.cbor answer
joint verify contract.cbor told | sed -n 1,6p

step "what the bank is told"
joint open bank contract.cbor answer scores --table bank.csv --id "$id" | sed -n 1,4p
refused joint open shop contract.cbor answer scores

step "refusals"
refused joint math bank contract.cbor --table bank.csv --id "$id" --out again --wait 1s --connect 127.0.0.1:9
cp -r shop stranger && joint init third >/dev/null && cp third/sign.pem stranger/
shop_flags=(--out strange) bank_flags=(--out met)
refused together math stranger # the key is that of no party, and the bank does not speak with it
shop_flags=(--out told-again) bank_flags=(--out over)
refused together math # the budget is one run
for empty in again strange met told-again over; do [ -z "$(ls "$empty" 2>/dev/null)" ]; done

step "done; everything is in $work"
