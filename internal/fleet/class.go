package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"staithe/internal/station"
)

// DefaultClass is the one class of a server that configures none.
const DefaultClass = "standard"

// Images finds the base file systems that classes name.
type Images interface {
	// Path is where an imported image's root file system is on the host.
	Path(name string) (string, error)
}

// classes are the kinds of session that the configuration has.
type classes struct {
	list  []station.Class
	usual string
}

func newClasses(o Options) (classes, error) {
	c := classes{list: slices.Clone(o.Classes), usual: o.DefaultClass}
	if len(c.list) == 0 {
		c.list = []station.Class{{Name: DefaultClass, Base: station.BaseHost, Network: station.NetworkPolicy{Mode: station.NetworkNone}}}
	}
	if c.usual == "" {
		c.usual = c.list[0].Name
	}
	if _, ok := c.find(c.usual); !ok {
		return c, station.Errorf(station.ErrInvalid, "bad_class", "The default session class %+q is none of the configured: %s.", c.usual, c.names())
	}
	return c, nil
}

func (c classes) find(name string) (station.Class, bool) {
	i := slices.IndexFunc(c.list, func(k station.Class) bool { return k.Name == name })
	if i < 0 {
		return station.Class{}, false
	}
	return c.list[i], true
}

func (c classes) names() string {
	names := make([]string, len(c.list))
	for i, k := range c.list {
		names[i] = k.Name
	}
	return strings.Join(names, ", ")
}

// classOf is the class of a session that runs or is to run.
func (f *Fleet) classOf(s station.Session) (station.Class, error) {
	c, ok := f.classes.find(s.Class)
	if !ok {
		return c, station.Errorf(station.ErrConflict, "class_gone",
			"The session's class %s is not in the server's configuration any more (there is %s). Ask the administrator to bring it back, or make a new session: the home is the same.", s.Class, f.classes.names())
	}
	return c, nil
}

// choose is the class that a new session gets.
func (f *Fleet) choose(name string) (station.Class, error) {
	if name == "" {
		name = f.classes.usual
	}
	c, ok := f.classes.find(name)
	if !ok {
		return c, station.Errorf(station.ErrInvalid, "bad_class", "There is no session class %+q; leave it out or take one of: %s.", name, f.classes.names())
	}
	return c, nil
}

// base is the host path of the root file system that a class's sessions get; ""
// is the host's own programs.
func (f *Fleet) base(_ context.Context, c station.Class) (string, error) {
	if c.Base == "" || c.Base == station.BaseHost {
		return "", nil
	}
	if f.images == nil {
		return "", station.Errorf(station.ErrUnavailable, "no_images", "This server has no images, but the session's class %s wants %s; ask the administrator.", c.Name, c.Base)
	}
	path, err := f.images.Path(c.Base)
	if err != nil {
		return "", fmt.Errorf("the image of class %s: %w", c.Name, err)
	}
	return path, nil
}
