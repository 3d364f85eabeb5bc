# shellcheck shell=bash
# Programs from the distribution: installed when they are missing, without starting any server of theirs.
#
# Each service names the packages it misses in `<kind>_packages`. Two callers at once wait for each other. Callers
# bring `say` and `die`.

readonly POLICY=/usr/sbin/policy-rc.d

# Installs what the named services miss, with one call of apt-get for all of them.
install_services() {
    local kind missing=()
    (
        flock 8
        for kind in "$@"; do
            mapfile -t -O "${#missing[@]}" missing < <("${kind}_packages")
        done
        install_packages "${missing[@]}"
        for kind in "$@"; do
            "${kind}_installed"
        done
    ) 8>"$STATE/install.lock"
}

# Installs the given packages, or says which ones a person who is not root has to install.
install_packages() {
    [[ $# -gt 0 ]] || return 0
    command -v apt-get >/dev/null || die "please install what these Debian packages hold: $*"
    [[ $(id -u) == 0 ]] || die "please install, as root: apt-get install --no-install-recommends $*"
    say "installing $*"
    local log=/var/tmp/eos-apt.log
    if ! apt_quietly "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "apt-get could not install $*; all of its output is in $log"
    fi
    never_at_boot "$@" >>"$log" 2>&1
}

# Runs apt-get while a policy forbids packages to start servers; the machine's own policy comes back afterwards.
apt_quietly() (
    trap restore_policy EXIT
    forbid_servers
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=300 update &&
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
)

forbid_servers() {
    restore_policy # a run that was killed may have left its own
    [[ ! -e $POLICY ]] || mv "$POLICY" "$POLICY.before-eos"
    printf '#!/bin/sh\n# eos: installing packages, remove when in doubt\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
}

restore_policy() {
    if grep -qs '^# eos:' "$POLICY"; then rm -f "$POLICY"; fi
    if [[ -e $POLICY.before-eos ]]; then mv "$POLICY.before-eos" "$POLICY"; fi
}

# A server package that came with this call is not wanted at the next boot either.
never_at_boot() {
    local package
    command -v systemctl >/dev/null || return 0
    for package in "$@"; do
        case $package in
            postgresql | redis-server) systemctl disable "$package" || true ;;
            mariadb-server) systemctl disable mariadb || true ;;
        esac
    done
}
