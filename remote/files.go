package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
)

// File is one file on the machine, as it was read there.
type File struct {
	Path   string
	Size   int64
	SHA256 string // lower-case hexadecimal
}

// UploadOptions says how a file is put in place.
type UploadOptions struct {
	Mode   fs.FileMode // permission bits; 0 means 0600
	SHA256 string      // what the content must be, in hexadecimal; empty means whatever the source holds
}

const upload = "upload" // in errors

// Upload writes src to path over SFTP. The bytes go into a new file beside it, are read back from the machine and
// compared by size and SHA-256, and only then replace path in one rename, so that no reader sees half a file. When
// SHA256 is given and path holds that content already, nothing is sent.
//
// A symbolic link, a folder or a device at path is refused with ErrNotRegular: the rename would put a file in its
// place. Give the path the link points to. The folder must exist; links on the way to it are followed. Owner and
// further rights of a file that is replaced are not kept.
//
// It is safe to repeat. Before the rename is sent every error is NotApplied; a line that drops during the rename leaves
// InDoubt, with either the old or the whole new file in place, and so it does while the mode is set of a file that held
// the content already. ErrMismatch means the content differed, ErrNoSpace that
// the machine's file system is full, fs.ErrPermission that the account may not write there. The File returned with an
// error holds the bytes that were sent until then.
func (h *Host) Upload(ctx context.Context, src io.Reader, path string, opt UploadOptions) (File, error) {
	want := strings.ToLower(opt.SHA256)
	if want != "" && (len(want) != sha256.Size*2 || strings.Trim(want, "0123456789abcdef") != "") {
		return File{}, failover.Invalid("UploadOptions.SHA256", "is not a SHA-256 in hexadecimal", "give 64 hexadecimal "+
			"digits")
	}
	if src == nil || path == "" || strings.ContainsRune(path, 0) {
		return File{}, failover.Invalid("path", "is empty or holds a NUL byte, or there is no source",
			"name the file to write and its content")
	}
	mode := cmp.Or(opt.Mode.Perm(), 0o600)
	var file File
	err := h.files(ctx, upload, func(client *sftp.Client) error {
		if err := h.replaceable(client, path); err != nil {
			return err
		}
		if want != "" {
			if there, err := read(client, path, io.Discard, -1); err == nil && there.SHA256 == want {
				file = there
				return h.setMode(client, path, mode, failover.InDoubt)
			}
		}
		part := path + ".part-" + rand.Text()[:10]
		sent, err := h.uploadPart(client, src, part, mode, want)
		file = File{Path: path, Size: sent.Size, SHA256: sent.SHA256}
		if err != nil {
			_ = client.Remove(part)
			return err
		}
		rename := client.Rename
		_, replaces := client.HasExtension("posix-rename@openssh.com")
		if replaces {
			rename = client.PosixRename
		}
		err = rename(part, path)
		switch {
		case err == nil:
			return nil
		case !refused(err):
			return h.inDoubt(upload, "upload again; that is safe", "rename to %s: %w", path, err)
		}
		defer func() { _ = client.Remove(part) }()
		if _, missing := client.Lstat(path); missing == nil && !replaces {
			return h.notApplied(upload, "remove the file there, then upload again", "%s is there, and this SSH server cannot "+
				"replace a file: %w", path, err)
		}
		return h.writeError(client, "rename to", path, err)
	})
	return file, err
}

// replaceable refuses to put a file in the place of something else.
func (h *Host) replaceable(client *sftp.Client, path string) error {
	info, err := client.Lstat(path)
	switch {
	case err != nil || info.Mode().IsRegular():
		return nil // what cannot be looked at shows when it is written
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := client.ReadLink(path)
		if err != nil {
			target = "somewhere"
		}
		return h.notApplied(upload, "give the path of the file itself", "%w: %s is a symbolic link to %q", ErrNotRegular,
			path, target)
	case info.IsDir():
		return h.notApplied(upload, "give the path of a file", "%w: %s is a folder", ErrNotRegular, path)
	}
	return h.notApplied(upload, "give the path of a file", "%w: %s is a device or pipe", ErrNotRegular, path)
}

// writeError finds words for a write that the machine refused. SFTP has no status for a full disk: OpenSSH answers
// "Failure" to it and to much else (sftp-server.c, errno_to_portable), so the file system is asked.
func (h *Host) writeError(client *sftp.Client, doing, path string, err error) error {
	status, refused := errors.AsType[*sftp.StatusError](err)
	bad := func(next, format string, args ...any) error {
		return h.notApplied(upload, next, "%s %s: %w", doing, path, fmt.Errorf(format, args...))
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return bad("give the account "+h.cfg.User+" the right to write there, or another path", "%w", err)
	case errors.Is(err, fs.ErrNotExist):
		return bad("make the folder first", "%w", err)
	case !refused || status.FxCode() != sftp.ErrSSHFxFailure:
		return bad("upload again; a part of it may be left behind", "%w", err)
	}
	folder := path[:strings.LastIndexAny(path, `/\`)+1]
	vfs, verr := client.StatVFS(cmp.Or(folder, "."))
	if verr != nil {
		return bad("look on the machine for a full disk, a quota, a read-only file system", "%w", err)
	}
	const readOnly, packet = 1, 32 << 10 // a flag of statvfs; the size of one write
	free := vfs.Bavail * vfs.Frsize
	switch {
	case vfs.Flag&readOnly != 0:
		return bad("mount the file system for writing, or give another path", "%w: %w", errReadOnly, err)
	case free < packet:
		return bad("make room on the machine, then upload again", "%w, %d bytes are free: %w", ErrNoSpace, free, err)
	case vfs.Files > 0 && vfs.Favail == 0:
		return bad("remove files on the machine, then upload again", "%w for another file: %w", ErrNoSpace, err)
	}
	return bad("look on the machine for a quota, a limit of file size, a broken disk", "%w (%d bytes are free)", err, free)
}

// uploadPart brings the content into the new file part and verifies it there.
func (h *Host) uploadPart(client *sftp.Client, src io.Reader, part string, mode fs.FileMode, want string) (sent File,
	err error) {
	out, err := client.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return File{}, h.writeError(client, "create", part, err)
	}
	sum := &counter{hash: sha256.New(), limit: -1}
	_, err = out.ReadFromWithConcurrency(io.TeeReader(src, sum), 0)
	sent.Size = sum.size
	if err = errors.Join(err, out.Close()); err != nil {
		return sent, h.writeError(client, "write", part, err)
	}
	if err := h.setMode(client, part, mode, failover.NotApplied); err != nil {
		return sent, err
	}
	sent.SHA256 = sum.sum()
	if want != "" && want != sent.SHA256 {
		return sent, h.notApplied(upload, "get the right file", "%w: the source has SHA-256 %s, wanted %s", ErrMismatch,
			sent.SHA256, want)
	}
	there, err := read(client, part, io.Discard, -1)
	if err != nil {
		return sent, h.notApplied(upload, "upload again; a file "+part+" may be left behind", "read back %s: %w", part, err)
	}
	if there.Size != sent.Size || there.SHA256 != sent.SHA256 {
		return sent, h.notApplied(upload, "look at the machine's disk and try again", "%w: sent %d bytes %s, found %d bytes "+
			"%s", ErrMismatch, sent.Size, sent.SHA256, there.Size, there.SHA256)
	}
	return sent, nil
}

// setMode sets the mode; lost is what an answer that does not come leaves.
func (h *Host) setMode(client *sftp.Client, path string, mode fs.FileMode, lost failover.Outcome) error {
	err := client.Chmod(path, mode)
	if err == nil {
		return nil
	}
	if refused(err) {
		lost = failover.NotApplied
	}
	return h.fail(upload, lost, "upload again; where that is refused too, see whether the account may change the mode",
		fmt.Errorf("set mode %o of %s: %w", mode, path, err))
}

// refused reports whether the server itself says that it did not do what was asked.
func refused(err error) bool {
	_, status := errors.AsType[*sftp.StatusError](err)
	return status || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrExist)
}

// Download copies the file at path into w over SFTP and returns its size and SHA-256. It changes nothing and is safe to
// repeat; errors are NotApplied. A file of more than limit bytes is refused with ErrTooLarge; a missing one is
// fs.ErrNotExist.
func (h *Host) Download(ctx context.Context, path string, w io.Writer, limit int64) (File, error) {
	if limit < 0 {
		return File{}, failover.Invalid("limit", "is negative", "say how many bytes may come")
	}
	var file File
	err := h.files(ctx, "download", func(client *sftp.Client) (err error) {
		if file, err = read(client, path, w, limit); err != nil {
			return h.notApplied("download", "see whether the file exists and the account may read it", "%s: %w", path, err)
		}
		return nil
	})
	return file, err
}

// ReadFile returns the content of a file of at most limit bytes, as Download does.
func (h *Host) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	var buf bytes.Buffer
	if _, err := h.Download(ctx, path, &buf, limit); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// files runs use over a connection of its own, so that a long transfer shares no fate with commands: when ctx ends
// the connection can be cut without putting any of them in doubt.
func (h *Host) files(ctx context.Context, op string, use func(*sftp.Client) error) error {
	if err := h.begin(op); err != nil {
		return err
	}
	defer h.calls.Done()
	l, err := h.dedicated(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	err = func() error {
		ch, reqs, err := l.open(ctx, op)
		if err != nil {
			return err
		}
		h.lines.Go(func() { ssh.DiscardRequests(reqs) })
		ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
		if err != nil {
			return h.notApplied(op, "try again", "%w: %w", l.why(), err)
		}
		if !ok {
			return h.refusal(op, "enable the sftp subsystem in sshd_config", "the sftp subsystem")
		}
		h.lines.Go(func() { _, _ = io.Copy(io.Discard, ch.Stderr()) })
		client, err := sftp.NewClientPipe(ch, ch, sftp.UseConcurrentWrites(true))
		if err != nil {
			return h.notApplied(op, "see in the SSH server's log why sftp does not start", "%w: the sftp subsystem: %w",
				ErrRefused, err)
		}
		defer func() { h.ends(h.background(func() { _ = client.Close() })) }()
		return use(client)
	}()
	if err != nil && ctx.Err() != nil {
		return h.fail(op, failover.OutcomeOf(err), failover.NextOf(err), fmt.Errorf("%w (%w)", ended(ctx), err))
	}
	return err
}

// read copies a file into w and sums it. A negative limit means none.
func read(client *sftp.Client, path string, w io.Writer, limit int64) (File, error) {
	in, err := client.Open(path)
	if err != nil {
		return File{}, err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return File{}, err
	}
	if limit >= 0 && info.Size() > limit {
		return File{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, info.Size(), limit)
	}
	sum := &counter{hash: sha256.New(), limit: limit}
	if _, err := in.WriteTo(io.MultiWriter(sum, w)); err != nil {
		return File{}, err
	}
	return File{Path: path, Size: sum.size, SHA256: sum.sum()}, nil
}

// counter sums what passes and refuses more than limit, unless that is negative.
type counter struct {
	hash  hash.Hash
	size  int64
	limit int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	if c.limit >= 0 && c.size > c.limit {
		return 0, fmt.Errorf("%w: it holds more than %d bytes", ErrTooLarge, c.limit)
	}
	return c.hash.Write(p)
}

func (c *counter) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }
