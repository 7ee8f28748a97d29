// A front for runc on hosts where root lacks capabilities: it takes out of a bundle (create, run, restore) or a process file
// (exec) what the caller cannot grant, and then becomes the real runc. Where nothing is missing it changes nothing.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const runc = "/usr/sbin/runc" // Debian's

// By their numbers in the kernel.
var capabilities = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

var limits = strings.Fields(`CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME`)

func main() {
	if err := prepare(os.Args[1:]); err != nil {
		fail(err)
	}
	fail(syscall.Exec(runc, append([]string{runc}, os.Args[1:]...), os.Environ()))
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "the front of %s: %v\n", runc, err)
	os.Exit(127)
}

// prepare edits the file that this call of runc reads; other calls read none.
func prepare(args []string) error {
	verb, bundle, process := "", ".", ""
	for i, arg := range args {
		next := ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		switch {
		case verb == "" && (arg == "create" || arg == "run" || arg == "restore" || arg == "exec"):
			verb = arg
		case verb != "" && (arg == "--bundle" || arg == "-b"):
			bundle = next
		case verb == "exec" && (arg == "--process" || arg == "-p"):
			process = next
		}
	}
	switch {
	case verb == "exec" && process != "":
		return edit(process, func(document map[string]any) { restrict(document) })
	case verb != "" && verb != "exec":
		return edit(filepath.Join(bundle, "config.json"), func(document map[string]any) {
			if process, ok := document["process"].(map[string]any); ok {
				restrict(process)
			}
		})
	}
	return nil
}

func edit(path string, change func(map[string]any)) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber() // keeps 64-bit numbers exact
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	change(document)
	out, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return os.WriteFile(path, out, 0o600)
}

// restrict takes out of a process what its parent does not have.
func restrict(process map[string]any) {
	granted := bounding()
	sets, _ := process["capabilities"].(map[string]any)
	for name, value := range sets {
		kept := []any{}
		list, _ := value.([]any)
		for _, each := range list {
			if word, _ := each.(string); granted[word] {
				kept = append(kept, each)
			}
		}
		sets[name] = kept
	}
	if !granted["CAP_SYS_RESOURCE"] { // only with it may a limit rise and a badness fall
		restrictBadness(process)
		restrictLimits(process)
	}
}

func bounding() map[string]bool {
	var have uint64
	for _, line := range strings.Split(own("status"), "\n") {
		if value, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			have, _ = strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	granted := map[string]bool{}
	for number, name := range capabilities {
		granted["CAP_"+name] = have>>number&1 == 1
	}
	return granted
}

func restrictBadness(process map[string]any) {
	if wanted, ok := process["oomScoreAdj"].(json.Number); ok {
		want, _ := wanted.Int64()
		now, _ := strconv.ParseInt(strings.TrimSpace(own("oom_score_adj")), 10, 64)
		process["oomScoreAdj"] = max(want, now)
	}
}

func restrictLimits(process map[string]any) {
	numbers := map[string]int{}
	for number, name := range limits {
		numbers["RLIMIT_"+name] = number
	}
	list, _ := process["rlimits"].([]any)
	for _, each := range list {
		limit, _ := each.(map[string]any)
		kind, _ := limit["type"].(string)
		number, known := numbers[kind]
		var current syscall.Rlimit
		if !known || syscall.Getrlimit(number, &current) != nil {
			continue
		}
		for _, field := range []string{"hard", "soft"} {
			if value, ok := limit[field].(json.Number); ok {
				if wanted, err := strconv.ParseUint(value.String(), 10, 64); err == nil {
					limit[field] = min(wanted, current.Max)
				}
			}
		}
	}
}

func own(name string) string {
	content, _ := os.ReadFile("/proc/self/" + name)
	return string(content)
}
