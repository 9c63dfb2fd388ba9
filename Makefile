# Estafeta.  One Makefile, no recursion, nothing generated; objects in build/<flavour>/.
#   make                      build build/release/estafeta and the daemons beside it
#   sudo make demo            the suite on loopback, from nothing to a mail read back
#   sudo make check           every test
#   make install DESTDIR= PREFIX=/usr/local
# Flavours: SAN=address,undefined | SAN=thread | COVERAGE=1

PREFIX    ?= /usr/local
PYTHON    ?= /usr/bin/python3
PYTEST     = $(PYTHON) -m pytest
SYSCONFDIR ?= /etc/estafeta
SAN       ?=
COVERAGE  ?=
FLAVOUR   ?= $(if $(SAN),$(if $(findstring thread,$(SAN)),tsan,asan),$(if $(COVERAGE),coverage,release))
B         := build/$(FLAVOUR)
ifeq ($(origin CC),default)
CC        := gcc
endif
AR        := ar

FLAGS.release  := -O2 -g -D_FORTIFY_SOURCE=2
FLAGS.asan     := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS.tsan     := -O1 -g -fsanitize=thread
FLAGS.coverage := -O0 -g --coverage
FLAGS.fuzz     := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
HARDEN  := -fPIE -fstack-protector-strong -fcf-protection=full
CFLAGS  := -std=c11 -D_GNU_SOURCE -pthread $(WARN) $(HARDEN) $(FLAGS.$(FLAVOUR)) $(EXTRA_CFLAGS)
LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now,--as-needed $(EXTRA_LDFLAGS)
LIBS    := -levent_core -lssl -lcrypto -ldb-5.3 -lsasl2 -lunbound -llmdb -lcdb -lpcre2-8 -lseccomp -lcrypt -lidn2 -lidn -ljansson -lcurl -lz -lm

# Folders whose objects form one library each; a program sees its own and common's, nothing else.
FOLDERS := master smtpd qmgr delivery pop3d imapd authd edge tools
built    = $(patsubst %.c,$(B)/%,$(1))
MAINS   := $(shell find $(FOLDERS) -name '*_main.c')
# smtpd/smtpd_main.c -> libexec/smtpd, imapd/imapd_login_main.c -> libexec/imapd-login; tools beside them
program  = $(B)/$(if $(filter tools/%,$(1)),,libexec/)$(subst _,-,$(patsubst %_main.c,%,$(notdir $(1))))
PROGS   := $(foreach m,$(MAINS),$(call program,$(m)))
TESTS   := $(call built,$(shell find tests/unit -name '*_test.c'))
FUZZERS := $(call built,$(shell find tests/fuzz -name '*_fuzz.c'))
owner    = $(firstword $(subst /, ,$(patsubst tests/unit/%,%,$(patsubst tests/fuzz/%,%,$(1:$(B)/%=%)))))

# make V=1 shows the commands
Q         := $(if $(V),,@)
say       = @$(if $(V),:,printf '  %-3s %s\n' $(1) $(2))

all: $(PROGS) $(B)/mailq $(B)/newaliases

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -iquote . $(CFLAGS) -MMD -MP -c $< -o $@

# names of one program: they run from the source tree too
$(B)/mailq $(B)/newaliases: $(B)/sendmail ; $(Q)ln -sf sendmail $@

define library # a folder without its main files; the directories too, so that a deleted source drops out
$(B)/lib$(1).a: $(addsuffix .o,$(call built,$(filter-out %_main.c,$(shell find $(1) -name '*.c')))) $(shell find $(1) -type d)
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call say,AR,$$@)
	$(Q)$$(AR) rcs $$@ $$(filter %.o,$$^)
endef
define link    # $(1) program or test, $(2) its main object, $(3) owning folder, $(4) more flags
$(1): $(2) $(filter-out $(B)/libcommon.a,$(B)/lib$(3).a) $(B)/libcommon.a
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) $$^ $(4) $$(LIBS) -o $$@
endef
$(foreach l,common $(FOLDERS),$(eval $(call library,$(l))))
$(foreach m,$(MAINS),$(eval $(call link,$(call program,$(m)),$(call built,$(m)).o,$(firstword $(subst /, ,$(m))))))
$(foreach t,$(TESTS),$(eval $(call link,$(t),$(t).o,$(call owner,$(t)),-lcmocka)))
$(foreach f,$(FUZZERS),$(eval $(call link,$(f),$(f).o,$(call owner,$(f)),-fsanitize=fuzzer)))
$(eval $(call link,$(B)/tests/bench/queue_fill,$(B)/tests/bench/queue_fill.o,qmgr))
CRASH := $(B)/tests/crash/look $(B)/tests/crash/tracer
$(foreach t,$(CRASH),$(eval $(call link,$(t),$(t).o,qmgr)))

.SECONDARY:
unit: $(TESTS)
	@for t in $^; do ASAN_OPTIONS=detect_leaks=1 $$t >$$t.log 2>&1 || { cat $$t.log; echo "FAILED $$t"; exit 1; }; echo "ok $$t"; done

# Uses of what was never written, which the sanitizers do not see.  Not the tests of the cage: it has no room
# for valgrind; nor of a damaged index, where LMDB follows what it finds (that may end the process, and is tested).
VALGRIND := valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --child-silent-after-fork=yes \
	--suppressions=tests/valgrind/libraries.supp
$(B)/tests/valgrind/openat2.so: tests/valgrind/openat2.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fPIC -shared -o $@ $<
valgrind: $(TESTS) $(B)/tests/valgrind/openat2.so
	@for t in $(filter-out %/sandbox_test %/cage_test %/repair_test,$(TESTS)); do \
	TEST_TIME_FACTOR=30 LD_PRELOAD=$(B)/tests/valgrind/openat2.so $(VALGRIND) $$t >$$t.log 2>&1 || \
	{ cat $$t.log; echo "FAILED $$t"; exit 1; }; echo "ok $$t"; done

SOURCES := $(shell find common $(FOLDERS) -name '*.c')
lint:
	cppcheck -q --error-exitcode=1 --enable=warning,performance,portability --std=c11 -I. -D_GNU_SOURCE -D__x86_64__ \
	-DF_OFD_SETLK=37 -DF_OFD_GETLK=36 --library=posix,gnu,openssl --include=/usr/include/$(shell gcc -print-multiarch)/sys/queue.h \
	--suppress=missingIncludeSystem --suppressions-list=tests/cppcheck.supp -j$(shell nproc) $(SOURCES)
	echo $(SOURCES) | xargs -P$(shell nproc) -n8 clang-tidy --quiet --extra-arg=-std=c11 --extra-arg=-D_GNU_SOURCE \
	--extra-arg=-iquote. --extra-arg=-pthread

# make fuzz FLAVOUR=fuzz CC=clang [RUNS=n]
fuzz: $(FUZZERS)
	@for f in $^; do mkdir -p $${f#$(B)/}.corpus; $$f -runs=$(or $(RUNS),10000) -max_len=65536 $${f#$(B)/}.corpus || exit 1; done

# No include crosses a fence; no global symbol exists twice.
layers: all
	@for d in common $(FOLDERS); do for o in $(FOLDERS); do [ $$d = $$o ] || \
	! grep -rl " $$o/" $(B)/$$d --include='*.d' 2>/dev/null || { echo "$$d includes $$o/"; exit 1; }; done; done
	@! nm -g --defined-only $(B)/lib*.a 2>/dev/null | awk 'NF==3{print $$3}' | sort | uniq -d | grep . || { echo "symbol defined twice"; exit 1; }

# --- the two commands, and the usual ones ---------------------------------------------------------
demo: deps
	$(MAKE) -j$(shell nproc) all
	DEMO_ONCE=$(DEMO_ONCE) $(PYTHON) conf/demo.py

check: deps-test
	$(MAKE) -j$(shell nproc) all unit layers
	$(MAKE) integration

# The same under AddressSanitizer and UndefinedBehaviorSanitizer; slower, so not part of check.
check-sanitize: deps-test
	$(MAKE) -j$(shell nproc) SAN=address,undefined all unit
	TEST_TIME_FACTOR=4 $(MAKE) SAN=address,undefined integration

deps:
	sh conf/install-deps.sh build
deps-test:
	sh conf/install-deps.sh test

integration: all $(B)/tests/bench/queue_fill $(CRASH)
	FLAVOUR=$(FLAVOUR) $(PYTEST) -q -p no:cacheprovider -n $(or $(JOBS),3) tests/integration $(PYTEST_ARGS)

MANDIR = $(DESTDIR)$(PREFIX)/share/man
LIBEXECDIR = $(DESTDIR)$(PREFIX)/libexec/estafeta
UNITDIR = $(DESTDIR)$(PREFIX)/lib/systemd/system
install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(LIBEXECDIR) $(UNITDIR) $(DESTDIR)$(SYSCONFDIR) $(MANDIR)/man1 $(MANDIR)/man8
	install -m 755 $(B)/estafeta $(B)/sendmail $(DESTDIR)$(PREFIX)/sbin
	ln -sf sendmail $(DESTDIR)$(PREFIX)/sbin/mailq
	ln -sf sendmail $(DESTDIR)$(PREFIX)/sbin/newaliases
	install -m 755 $(filter $(B)/libexec/%,$(PROGS)) $(LIBEXECDIR)
	install -m 755 conf/users.sh $(LIBEXECDIR)
	sed 's,@PREFIX@,$(PREFIX),' conf/estafeta.service >$(UNITDIR)/estafeta.service && chmod 644 $(UNITDIR)/estafeta.service
	install -m 644 docs/estafeta.8 docs/sendmail.8 $(MANDIR)/man8
	for m in mailq newaliases; do echo .so man8/sendmail.8 > $(MANDIR)/man1/$$m.1 && chmod 644 $(MANDIR)/man1/$$m.1; done
	install -m 644 conf/bounce.cf.example $(DESTDIR)$(SYSCONFDIR)
	for f in main.cf master.cf aliases; do [ -e $(DESTDIR)$(SYSCONFDIR)/$$f ] || install -m 644 conf/$$f $(DESTDIR)$(SYSCONFDIR); done
	[ -n "$(DESTDIR)" ] || sh conf/users.sh

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/sbin/,estafeta sendmail mailq newaliases) \
	    $(addprefix $(MANDIR)/,man8/estafeta.8 man8/sendmail.8 man1/mailq.1 man1/newaliases.1)
	rm -rf $(LIBEXECDIR) $(UNITDIR)/estafeta.service

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
# 19,000 slow clients in one smtpd, 30,000 over two, 5,000 with TLS; needs 20,000 descriptors a process.  Then messages of a
# million header lines, parameters, parts, and 100,000 handshakes.
slow: all
	@for n in "19000 1" "30000 2"; do set -- $$n; SLOW_CLIENTS=$$1 SLOW_PROCESSES=$$2 SLOW_TLS_CLIENTS=5000 FLAVOUR=$(FLAVOUR) \
		$(PYTEST) -q -p no:cacheprovider tests/integration/test_slow_clients.py || exit 1; done
	TEST_SCALE=10 FLAVOUR=$(FLAVOUR) $(PYTEST) -q -p no:cacheprovider tests/integration/test_hostile_smtp.py -k "case_35_many or 13_to_19"

# One tenant's hundred thousand messages beside another's single one.
scheduler-scale: all
	TEST_SCALE=50 FLAVOUR=$(FLAVOUR) $(PYTEST) -q -p no:cacheprovider tests/integration/test_scheduler.py

# A queue of SCALE deferred messages: its memory, its restart, its list, and new mail beside it, each beside its goal.
# Needs 5 GB and as many inodes beneath TMPDIR.
queue-scale: all $(B)/tests/bench/queue_fill
	SCALE=$(or $(SCALE),1000000) FLAVOUR=$(FLAVOUR) $(PYTHON) tests/bench/queue_scale.py

# STATES file systems as a crash may leave them; daemons killed at POINTS system calls, or the call fails.  It takes hours;
# check has a small share of it.
crash: all $(CRASH)
	FLAVOUR=$(FLAVOUR) $(PYTHON) tests/crash/crash_states.py $(or $(STATES),20000)
	FLAVOUR=$(FLAVOUR) $(PYTHON) tests/crash/kill_points.py $(or $(POINTS),10000)

.PHONY: all unit queue-scale scheduler-scale crash valgrind lint slow fuzz layers demo check check-sanitize deps deps-test integration install uninstall clean
