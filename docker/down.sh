#!/usr/bin/env bash
# down.sh: stops the agent, worker, gateway and PostgreSQL, in that order. The data stays.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/stack.sh"

find_home
[[ -f $home/checkout ]] || { say "Nothing to stop: there is no system under $shown." && exit 0; }
claim_home
stopped=$(running | paste -sd ' ')
stop agent TERM 30 # and nebula with it
stop_all
say "Stopped: ${stopped:-nothing was running}. The data is in $shown."
