package peers

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// descendants lists the processes below pid. It reads /proc; where there is none the list is empty.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		// The name in parentheses may hold anything, so the fields are counted from its end.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(string(fields[1])); err == nil {
			children[parent] = append(children[parent], child)
		}
	}
	var list []int
	for todo := children[pid]; len(todo) > 0; todo = todo[1:] {
		list = append(list, todo[0])
		todo = append(todo, children[todo[0]]...)
	}
	return list
}

// marked lists the processes whose environment holds the line mark.
func marked(mark string) []int {
	var list []int
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(mark)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
			list = append(list, pid)
		}
	}
	return list
}

func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
