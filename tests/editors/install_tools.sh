#!/usr/bin/env bash
# What the tests in real editors need of Debian's packages: installed where this may be done unasked, and else said.
# The tests skip themselves where something is missing, so this never fails.
set -uo pipefail

packages=(build-essential chromium libkrb5-dev lua-check mmdebstrap ripgrep)

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
    exit 0
  fi
fi
echo "Not installed here, so some tests in real editors are skipped: ${missing[*]}"
