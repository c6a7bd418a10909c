package idm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
)

func (m *mover) saveCaches() failover.Step {
	see := func(ctx context.Context, driver string) (failover.Item, error) {
		saved, err := factCaches.Load(ctx)
		return failover.Item{Done: saved[driver] != "", Found: cmp.Or(saved[driver], "not saved")}, err
	}
	return m.looks("caches saved", "write them to "+m.cacheDir, see).Step(failover.Step{ID: "save-caches",
		Writes: []string{factCaches.Name},
		Title:  "Save the events that wait on the source", Target: m.sourceDN, Kind: failover.Change,
		Timeout: m.allDrivers(m.StopTimeout), Poll: m.Poll,
		Source: ours + "the queue is a file of one server (ldapwiki \"TAO Files\"); disabling a driver ends it",
		Apply: func(ctx context.Context) error {
			noted, _, err := factNoted.Load(ctx)
			done, errDone := factCaches.Load(ctx)
			if err = errors.Join(err, errDone); err != nil {
				return notApplied(err)
			}
			return m.each(ctx, func(ctx context.Context, driver string) error {
				if done[driver] != "" {
					return nil
				}
				saved, err := m.saveCache(ctx, m.source, driver, noted.At)
				if err != nil {
					return notApplied(err)
				}
				failover.Progress(ctx, commonName(driver)+": "+saved)
				return factCaches.Put(ctx, driver, saved)
			})
		},
		Undo: failover.NothingToUndo})
}

// saveCache writes one cache as far as it can be read, and says where that ends: the gap is closed by time, not by the
// file. Driver set, server and time of the stop are in the file's name: the events of an earlier move, or of another
// driver, are nobody's to overwrite.
func (m *mover) saveCache(ctx context.Context, s *Server, driver string, stopped time.Time) (string, error) {
	// The names alone may be those of a driver in another container, or of one that differs in what a file name cannot hold.
	sum := sha256.Sum256([]byte(driver + "\x00" + s.DN()))
	name := []string{fileName(driver), fileName(m.DriverSet), fileName(s.DN()), hex.EncodeToString(sum[:4]),
		stopped.UTC().Format("20060102T150405Z")}
	path := filepath.Join(m.cacheDir, strings.Join(name, "-")+".cache.xml")
	f, err := newFile(path)
	if err != nil {
		return "", notDone("save cache of", driver, "make the folder writable, then run again", err)
	}
	defer f.discard()
	pages, torn := 0, 0
	view := func() error {
		return s.ViewCache(ctx, driver, func(page []byte) error {
			if pages++; eachToken(page, func(xml.Token, int) {}) != nil {
				torn++
			}
			_, err := f.f.Write(append(page, '\n'))
			return err
		})
	}
	err = view()
	if errors.Is(err, ErrWrongState) && pages == 0 {
		// Right after a stop the view was seen to fail once.
		if err = pause(ctx, m.Poll); err == nil {
			err = view()
		}
	}
	unread := ""
	_, refused := errors.AsType[*ResultError](err)
	switch {
	case err != nil && !refused && !unsupported(err):
		return "", err
	case err != nil:
		unread = "not readable: " + err.Error() + "; " + m.waits(ctx, s, driver)
	case torn > 0:
		unread = fmt.Sprintf("%d of %d pages came damaged or cut off", torn, pages)
	}
	if pages == 0 {
		if left := m.waits(ctx, s, driver); err == nil && left != nothingWaits {
			unread = "the server shows no event, and " + left
		}
		return cmp.Or(unread, "empty"), nil
	}
	if err = f.sync(); err == nil {
		err = f.rename()
	}
	if err != nil {
		return "", notDone("save cache of", driver, "make room and repeat", err)
	}
	if unread != "" {
		return "in " + path + ", not all of it: " + unread, nil
	}
	return "in " + path, nil
}

// checkCacheDir refuses a folder that is none.
func (m *mover) checkCacheDir(field string) error {
	if m.cacheDir == "" {
		return nil
	}
	if info, err := os.Stat(m.cacheDir); err != nil || !info.IsDir() {
		return failover.Invalid(field, m.cacheDir+" is no folder", "name a folder that exists")
	}
	return nil
}

var unusual = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// fileName makes a name for a file from a DN: the common name with everything unusual replaced.
func fileName(dn string) string { return unusual.ReplaceAllString(commonName(dn), "_") }

// waits says what waits in the queue of a stopped driver on a server.
func (m *mover) waits(ctx context.Context, s *Server, driver string) string {
	queue, err := s.queued(ctx, driver)
	if errors.Is(err, ErrWrongState) && pause(ctx, m.Poll) == nil {
		queue, err = s.queued(ctx, driver) // right after a stop a view was seen to fail once
	}
	if err != nil {
		return "how much waits there is not known: " + err.Error()
	}
	return cmp.Or(queue, nothingWaits)
}

const nothingWaits = "nothing waits there"

// disable sets a stopped driver to Disabled, which ends its queue: what waits is told first, and saved where there is a
// folder for it. A queue that the server cannot read keeps nobody: a damaged one is a usual mark of a crash. A folder that
// cannot be written to does: the driver is stopped and manual, and the queue waits.
func (m *mover) disable(ctx context.Context, s *Server, driver string) (err error) {
	queue := m.waits(ctx, s, driver)
	if queue != nothingWaits {
		saved := "there is no folder to save it in"
		if m.cacheDir != "" {
			if saved, err = m.saveCache(ctx, s, driver, time.Now()); err != nil {
				return err
			}
		}
		queue += ", which goes with the disabling; the queue: " + saved
	}
	if m.tell != nil {
		m.tell(driver, queue)
	} else if err := factQueues.Put(ctx, queueOf(s.DN(), driver), queue); err != nil {
		return notApplied(err)
	}
	failover.Progress(ctx, commonName(driver)+" on "+commonName(s.DN())+": "+queue)
	return s.SetStartOption(ctx, driver, StartDisabled, ResyncNone)
}

func queueOf(serverDN, driver string) string { return driver + " on " + serverDN }

// queues tells of each driver that was disabled on a server what waited there.
func (m *mover) queues(ctx context.Context, serverDN string) (string, error) {
	told, err := factQueues.Load(ctx)
	var texts []string
	for _, driver := range m.Drivers {
		if queue := told[queueOf(serverDN, driver)]; queue != "" {
			texts = append(texts, commonName(driver)+": "+queue)
		}
	}
	return strings.Join(texts, "; "), err
}
