# The commands of the project. `make test` is the one the README names.

GO ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
PACKAGES = ./...
MODULES = $(dir $(wildcard examples/*/go.mod))
# Real servers that the tests run against. On a Debian machine as root they are installed and required.
PEER_PACKAGES = openssh-server openssh-client openssh-sftp-server ksh dash bash expect mksh zsh yash posh busybox csh tcsh rc fish \
	dropbear-bin procps slapd ldap-utils pacemaker corosync pacemaker-cli-utils iproute2 patroni postgresql-15 postgresql-client-15 etcd-server

# Tests that go through every order, fault or crash, do something very often, or start very many programs. They run without the
# race detector, and not in make quick.
LONG_TESTS = Explore|CalledUnchangedBehind|KillAt|Crash|Fault|EveryStep|Launches|Races|FillsUp|Tombstones|Waited|Undo|Million|Thousand|HundredMeg|$\
	TwoPairs|TwoDriver|TwoUpgrades|JobBegins|BehindASwitchover|AnswersReach|PlanIsRunAs|SwitchoverAndBack|PersonRunsTheInstaller|RollbackFrom|MarksThat|AtTheGate|RunByHand|PreflightLooks|WhileAMoveWaits|JudgedOverREST|DocumentedWords|FlippedBit|FromTheFile|StartsInPart|ALargeCopy|Grammar|Cost|ProcessThatDies|HeapDoesNot|QuietIs|AfterAReboot

# Packages that make quick leaves out: they kill whole programs, or need real servers.
SLOW = /examples/drill$$|/examples/symitar-failover$$|/internal/peers$$

.PHONY: drill test quick modules peers lint fuzz bench aix

drill:
	$(GO) run ./examples/drill

# Runs everything. Where the real servers cannot be installed, the tests that need them are skipped and named at the end.
test: peers
	@bash internal/peers/test.sh "$(GO)" '$(LONG_TESTS)' $(PACKAGES)
	@$(MAKE) --no-print-directory modules

# The modules of their own, as a team builds them that imports this one.
modules:
	@for mod in $(MODULES); do echo "module $$mod"; (cd $$mod && $(GO) vet ./... && $(GO) test -race ./...) || exit 1; done

# What can be tested within two minutes: no race detector, no vet, no debug information, no real servers, short mode. Four
# packages at a time, since most tests wait.
quick:
	@PEERS=none $(GO) test -p 4 -ldflags=-w -short -vet=off -skip '$(LONG_TESTS)' $$($(GO) list $(PACKAGES) | grep -vE '$(SLOW)')

# Node.js reads the PowerShell grammar and gcc serves the race detector; both are often there from elsewhere.
peers:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		want="$(PEER_PACKAGES)"; \
		command -v npm >/dev/null || want="$$want nodejs npm"; \
		command -v gcc >/dev/null || want="$$want gcc libc6-dev"; \
		if ! dpkg -s $$want >/dev/null 2>&1; then \
			apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy $$want; fi; fi

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt"; exit 1; }
	$(GO) vet $(PACKAGES)
	$(GO) run $(STATICCHECK) $(PACKAGES)
	@for os in windows darwin; do echo "GOOS=$$os"; GOOS=$$os $(GO) vet $(PACKAGES) || exit 1; done
	@$(MAKE) --no-print-directory aix

aix:
	@echo GOOS=aix; GOOS=aix GOARCH=ppc64 $(GO) vet $(PACKAGES)

# Each fuzz target for a short while. Inputs that reach something new are made smaller by a few tries only: with the default
# of a minute each, long inputs leave no time to try anything else.
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime 20s -fuzzminimizetime 20x $$pkg || exit 1; done; done

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)
