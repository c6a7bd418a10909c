// Package localfile reads small text files as people and editors leave them: key files, certificates, known_hosts.
package localfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode"
	"unicode/utf16"
)

// Read returns the text of a regular file of at most limit bytes as UTF-8. A byte order mark is taken off, and UTF-16
// with one is converted: PowerShell 5.1 and Notepad write both. Folders, pipes, devices and files that are no text are
// refused; a pipe is never opened, so that nothing waits for its writer.
func Read(path string, limit int64) ([]byte, error) {
	return ReadJudged(path, limit, func(fs.FileInfo) error { return nil })
}

// ReadJudged is Read for a file that judge may refuse, with its own error, when it is open.
func ReadJudged(path string, limit int64, judge func(fs.FileInfo) error) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("is no regular file: it is a folder")}
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("is no regular file")}
	}
	file, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if info, err = file.Stat(); err == nil {
		err = judge(info)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("holds more than %d bytes", limit)}
	}
	text, err := decode(data)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return text, nil
}

func decode(data []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		data = data[3:]
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		order = binary.BigEndian
	}
	if order != nil {
		data = data[2:]
		if len(data)%2 != 0 {
			return nil, errors.New("is cut: UTF-16 text of an odd number of bytes")
		}
		units := make([]uint16, len(data)/2)
		for i := range units {
			units[i] = order.Uint16(data[2*i:])
		}
		text := utf16.Decode(units)
		for i, r := range text {
			if r == unicode.ReplacementChar && (i >= len(units) || units[i] != unicode.ReplacementChar) {
				return nil, errors.New("begins as UTF-16 and is not")
			}
		}
		data = []byte(string(text))
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, errors.New("is no text: it holds NUL bytes; save it as UTF-8")
	}
	return data, nil
}
