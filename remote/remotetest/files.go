package remotetest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// fileRoot serves SFTP inside one folder. Paths of clients are taken as absolute within it.
type fileRoot struct {
	folder string
	root   *os.Root
}

func (f *fileRoot) open() (err error) {
	f.root, err = os.OpenRoot(f.folder)
	return err
}

func (f *fileRoot) close() { _ = f.root.Close() }

func (f *fileRoot) serve(ch ssh.Channel) {
	server := sftp.NewRequestServer(ch, sftp.Handlers{FileGet: f, FilePut: f, FileCmd: f, FileList: f})
	_ = server.Serve()
	_ = server.Close()
	_ = ch.Close()
}

func local(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if p == "" {
		return "."
	}
	return p
}

// Fileread implements sftp.FileReader.
func (f *fileRoot) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	return f.root.Open(local(r.Filepath))
}

// Filewrite implements sftp.FileWriter.
func (f *fileRoot) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	flags, mode := os.O_WRONLY, fs.FileMode(0o644)
	if r.AttrFlags().Permissions {
		mode = r.Attributes().FileMode().Perm()
	}
	asked := r.Pflags()
	if asked.Creat {
		flags |= os.O_CREATE
	}
	if asked.Excl {
		flags |= os.O_EXCL
	}
	if asked.Trunc {
		flags |= os.O_TRUNC
	}
	return f.root.OpenFile(local(r.Filepath), flags, mode)
}

// Filecmd implements sftp.FileCmder.
func (f *fileRoot) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Setstat":
		if r.AttrFlags().Permissions {
			return f.root.Chmod(local(r.Filepath), r.Attributes().FileMode().Perm())
		}
		return nil
	case "Rename":
		if _, err := f.root.Lstat(local(r.Target)); err == nil {
			return fs.ErrExist // the protocol's own rename does not replace
		}
		return f.root.Rename(local(r.Filepath), local(r.Target))
	case "Mkdir":
		return f.root.Mkdir(local(r.Filepath), 0o755)
	case "Remove", "Rmdir":
		return f.root.Remove(local(r.Filepath))
	}
	return sftp.ErrSSHFxOpUnsupported
}

// PosixRename implements sftp.PosixRenameFileCmder.
func (f *fileRoot) PosixRename(r *sftp.Request) error {
	return f.root.Rename(local(r.Filepath), local(r.Target))
}

// Filelist implements sftp.FileLister.
func (f *fileRoot) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch r.Method {
	case "List":
		dir, err := f.root.Open(local(r.Filepath))
		if err != nil {
			return nil, err
		}
		defer func() { _ = dir.Close() }()
		infos, err := dir.Readdir(-1)
		return infoList(infos), err
	case "Stat":
		info, err := f.root.Stat(local(r.Filepath))
		if err != nil {
			return nil, err
		}
		return infoList{info}, nil
	}
	return nil, errors.ErrUnsupported
}

// Lstat implements sftp.LstatFileLister.
func (f *fileRoot) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	info, err := f.root.Lstat(local(r.Filepath))
	if err != nil {
		return nil, err
	}
	return infoList{info}, nil
}

// Readlink implements sftp.ReadlinkFileLister.
func (f *fileRoot) Readlink(path string) (string, error) { return f.root.Readlink(local(path)) }

type infoList []fs.FileInfo

// ListAt implements sftp.ListerAt.
func (l infoList) ListAt(into []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(into, l[offset:])
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}
