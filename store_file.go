package failover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// JournalFile is the store of a journal in a regular file on a local disk. The file itself is locked while it is open
// for writing, whatever name it is opened by; the lock is advisory and local to the machine, so it does not serve a
// network share. On AIX the lock belongs to the process and keeps other processes out only.
func JournalFile(path string) Store { return journalFile(path) }

type journalFile string

// A lock that is just given back is asked for again: what a killed process had begun to start holds it a moment longer.
const (
	lockTries = 20
	lockPause = 50 * time.Millisecond
	watchPoll = 500 * time.Millisecond
)

// String returns the path.
func (f journalFile) String() string { return string(f) }

// Create implements Store.
func (f journalFile) Create(ctx context.Context, _ Holder) (StoreWriter, error) {
	file, err := os.OpenFile(string(f), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, journalError("create journal", string(f), "open it to go on with it, or name another file", err)
	}
	if err != nil {
		return nil, fileError("create journal", string(f), err)
	}
	w, err := f.writer(ctx, file)
	if err == nil {
		if err = syncFolder(filepath.Dir(string(f))); err != nil {
			_ = w.Close()
			return nil, fileError("create journal", string(f), err)
		}
	}
	return w, err
}

// Open implements Store.
func (f journalFile) Open(ctx context.Context, _ Holder) (StoreWriter, error) {
	if err := f.regular(); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(string(f), os.O_RDWR|os.O_APPEND|openFlags, 0)
	if err != nil {
		return nil, fileError("open journal", string(f), err)
	}
	return f.writer(ctx, file)
}

// regular looks at the file before it is opened: opening a device or a queue can already do something or hang.
func (f journalFile) regular() error {
	info, err := os.Stat(string(f))
	switch {
	case err != nil:
		return fileError("open journal", string(f), err)
	case !info.Mode().IsRegular():
		return journalError("open journal", string(f), "name a journal",
			fmt.Errorf("%w: it is no regular file (%s)", ErrJournalDamaged, info.Mode().Type()))
	}
	return nil
}

func (f journalFile) writer(ctx context.Context, file *os.File) (_ StoreWriter, err error) {
	w := &fileWriter{file: file}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	if w.path, err = filepath.EvalSymlinks(string(f)); err == nil {
		w.path, err = filepath.Abs(w.path)
	}
	if err != nil {
		return nil, fileError("open journal", string(f), err)
	}
	for try := 1; ; try++ {
		got, err := lockFile(file)
		if err != nil {
			return nil, fileError("lock journal", string(f), err)
		}
		if got {
			break
		}
		if try >= lockTries || sleep(ctx, lockPause) != nil {
			return nil, journalError("open journal", string(f), "wait for the other process to end, or use its terminal",
				ErrJournalBusy)
		}
	}
	if w.info, err = file.Stat(); err != nil {
		return nil, fileError("open journal", string(f), err)
	}
	now, err := os.Stat(w.path)
	if err != nil || !os.SameFile(w.info, now) {
		return nil, journalError("open journal", string(f), "open it again",
			fmt.Errorf("%w: it was replaced while it was opened", ErrJournalDamaged))
	}
	if err := private(w.info); err != nil {
		return nil, journalError("open journal", string(f), "make the file private to the account that runs the procedure",
			err)
	}
	raw := make([]byte, w.info.Size())
	n, err := file.ReadAt(raw, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fileError("read journal", string(f), err)
	}
	raw = raw[:n]
	w.lines, w.size = completeLines(raw)
	w.torn = w.size < int64(len(raw))
	if host, err := os.Hostname(); err == nil { // without it, two machines could share a place
		w.place = host + ":" + fileIdentity(w.info, w.path)
	}
	return w, nil
}

// completeLines leaves out what has no line break: it was cut off while it was written, and nothing followed from it.
func completeLines(raw []byte) (lines [][]byte, size int64) {
	lines = make([][]byte, 0, bytes.Count(raw, []byte("\n")))
	for {
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			return lines, size
		}
		lines, raw, size = append(lines, raw[:end:end]), raw[end+1:], size+int64(end)+1
	}
}

// Read implements Store.
func (f journalFile) Read(context.Context) ([][]byte, error) {
	if err := f.regular(); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(string(f))
	if err != nil {
		return nil, fileError("read journal", string(f), err)
	}
	lines, _ := completeLines(raw)
	return lines, nil
}

// Watch implements Store.
func (f journalFile) Watch(ctx context.Context, lines int) error {
	for {
		now, err := f.Read(ctx)
		if err != nil || len(now) > lines {
			return err
		}
		if err := sleep(ctx, watchPoll); err != nil {
			return err
		}
	}
}

// InUse implements Store.
func (f journalFile) InUse(context.Context) (bool, error) {
	if err := f.regular(); err != nil {
		return false, err
	}
	file, err := os.OpenFile(string(f), os.O_RDONLY|openFlags, 0)
	if err != nil {
		return false, fileError("open journal", string(f), err)
	}
	defer func() { _ = file.Close() }()
	return lockHeld(file)
}

type fileWriter struct {
	mu    sync.Mutex
	file  *os.File
	path  string // resolved
	info  fs.FileInfo
	place string
	lines [][]byte
	size  int64 // of the complete lines
	torn  bool  // something that is no complete line may stand behind them
}

// Lines implements StoreWriter.
func (w *fileWriter) Lines() [][]byte { return w.lines }

// Place implements StoreWriter.
func (w *fileWriter) Place() string { return w.place }

// Append implements StoreWriter.
func (w *fileWriter) Append(line []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.still(); err != nil {
		return err
	}
	if w.torn {
		if err := errors.Join(w.file.Truncate(w.size), w.file.Sync()); err != nil {
			return fileError("drop the torn last line of journal", w.path, err)
		}
		w.torn = false
	}
	_, err := w.file.Write(slices.Concat(line, []byte("\n")))
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		// What stands there now is not known. It goes at once, or before anything else is written: what was told as not
		// written is not to be found by the next one who opens the file.
		w.torn = true
		_ = w.file.Truncate(w.size)
		return fileError("write journal", w.path, err)
	}
	w.size += int64(len(line)) + 1
	return nil
}

// still looks whether the file under the journal's name is the one that was opened, and as long as it was left.
func (w *fileWriter) still() error {
	const next = "find out who removed or replaced the journal; restore it from the ticket, settle the state by hand, " +
		"and begin a new one"
	now, err := os.Stat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return journalError("write journal", w.path, next, fmt.Errorf("%w: no file has its name any more", ErrJournalDamaged))
	case err != nil:
		return fileError("look at journal", w.path, err)
	case !os.SameFile(w.info, now):
		return journalError("write journal", w.path, next, fmt.Errorf("%w: another file has its name", ErrJournalDamaged))
	case now.Size() < w.size || now.Size() > w.size && !w.torn:
		return journalError("write journal", w.path, next,
			fmt.Errorf("%w: it has %d bytes, and %d were written", ErrJournalDamaged, now.Size(), w.size))
	}
	return nil
}

// Close implements StoreWriter.
func (w *fileWriter) Close() error {
	if err := w.file.Close(); err != nil {
		return fileError("close journal", w.path, err)
	}
	return nil
}

// fileError names the next action for what a file system says.
func fileError(op, path string, err error) error {
	next := "check the disk"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		next = "name an existing journal, or create one"
	case errors.Is(err, fs.ErrPermission):
		next = "give the account that runs the procedure the right to read and write file and folder"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		next = "close files or raise the limit of open files"
	case errors.Is(err, syscall.ENOSPC):
		next = "make room on the disk, then run again with the same journal"
	case errors.Is(err, syscall.EROFS):
		next = "the file system is read-only: name a place that can be written"
	}
	return journalError(op, path, next, err)
}
