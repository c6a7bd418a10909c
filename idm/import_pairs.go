package idm

import (
	"bytes"
	"context"
)

// pairs walks over both collections and calls visit for each object of either side, within scope. The key holds until
// visit returns, the objects longer.
func pairs(ctx context.Context, want, have *objects, scope []byte,
	visit func(want, have *object, key []byte) error) error {
	x, err := newSide(want, scope)
	if err != nil {
		return err
	}
	y, err := newSide(have, scope)
	if err != nil {
		return err
	}
	for x.o != nil || y.o != nil {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		order := bytes.Compare(x.key, y.key)
		switch {
		case x.o == nil:
			order = 1
		case y.o == nil:
			order = -1
		}
		w, h, key := x.o, y.o, x.key
		if order < 0 {
			h = nil
		}
		if order > 0 {
			w, key = nil, y.key
		}
		err := visit(w, h, key)
		if err == nil && order <= 0 {
			err = x.next()
		}
		if err == nil && order >= 0 {
			err = y.next()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// side is one of the two walks.
type side struct {
	w     *walker
	scope []byte
	o     *object
	key   []byte
}

func newSide(c *objects, scope []byte) (*side, error) {
	w, err := c.walk()
	if err != nil {
		return nil, err
	}
	s := &side{w: w, scope: scope}
	return s, s.next()
}

func (s *side) next() error {
	for {
		o, key, err := s.w.take()
		if err != nil {
			return err
		}
		s.o, s.key = o, append(s.key[:0], key...)
		if o == nil || keyBelow(key, s.scope) {
			return nil
		}
	}
}
