package failover_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/01b61c5c/failover"

// source is one package of the library as the compiler sees it.
type source struct {
	path  string // below the module
	fset  *token.FileSet
	files []*ast.File
	info  *types.Info
	pkg   *types.Package
}

// library reads the packages that users import, and the simulators beside them.
func library(t *testing.T) []source {
	t.Helper()
	var listed bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export",
		"./...")
	cmd.Stdout, cmd.Stderr = &listed, os.Stderr
	require.NoError(t, cmd.Run())
	type listing struct {
		ImportPath, Dir, Export string
		GoFiles                 []string
	}
	exports := map[string]string{}
	var ours []listing
	for dec := json.NewDecoder(&listed); ; {
		var l listing
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		exports[l.ImportPath] = l.Export
		below, is := strings.CutPrefix(l.ImportPath, module)
		if is && !strings.Contains(below, "/internal") && !strings.HasPrefix(below, "/examples") {
			ours = append(ours, l)
		}
	}
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var list []source
	for _, l := range ours {
		s := source{path: strings.TrimPrefix(strings.TrimPrefix(l.ImportPath, module), "/"), fset: fset,
			info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{},
				Selections: map[*ast.SelectorExpr]*types.Selection{}}}
		for _, name := range l.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(l.Dir, name), nil, 0)
			require.NoError(t, err)
			s.files = append(s.files, f)
		}
		var err error
		s.pkg, err = (&types.Config{Importer: imp}).Check(l.ImportPath, fset, s.files, s.info)
		require.NoError(t, err)
		list = append(list, s)
	}
	require.NotEmpty(t, list)
	return list
}

// simulator reports whether the package serves tests.
func (s source) simulator() bool { return strings.HasSuffix(s.path, "test") }

func (s source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", filepath.Join(s.path, filepath.Base(p.Filename)), p.Line)
}

// exported returns the package's exported objects by name.
func (s source) exported() []types.Object {
	var list []types.Object
	for _, name := range s.pkg.Scope().Names() {
		if o := s.pkg.Scope().Lookup(name); o.Exported() {
			list = append(list, o)
		}
	}
	return list
}

// words cuts a name at its capitals.
func words(name string) []string {
	var list []string
	begin := 0
	for i, r := range name {
		if i > begin && unicode.IsUpper(r) {
			list, begin = append(list, name[begin:i]), i
		}
	}
	return append(list, name[begin:])
}

// fromHere reports whether the type is the named one of this module.
func fromHere(t types.Type, pkg, name string) bool {
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Pkg() != nil && n.Obj().Name() == name &&
		n.Obj().Pkg().Path() == strings.TrimSuffix(module+"/"+pkg, "/")
}

// TestOneManner holds what all packages have in common, so that who knows one knows the others.
func TestOneManner(t *testing.T) {
	for _, s := range library(t) {
		t.Run(cmp.Or(s.path, "failover"), func(t *testing.T) {
			t.Run("constants", s.constants)
			t.Run("signatures", s.signatures)
			t.Run("configurations", s.configurations)
			t.Run("steps", s.steps)
		})
	}
}

// vocabulary are the enumerations whose constants stand alone: every package and every operator uses them.
var vocabulary = []string{"Kind", "Outcome"}

// Constants carry a word of their type's name, and what a state is before anybody looked is not a good one.
func (s source) constants(t *testing.T) {
	for _, o := range s.exported() {
		c, ok := o.(*types.Const)
		if !ok {
			continue
		}
		n, ok := types.Unalias(c.Type()).(*types.Named)
		if !ok || n.Obj().Pkg() != s.pkg || s.path == "" && slices.Contains(vocabulary, n.Obj().Name()) {
			continue
		}
		typ := n.Obj().Name()
		assert.True(t, strings.HasPrefix(c.Name(), typ) || slices.Contains(words(typ), words(c.Name())[0]),
			"%s is a %s: name it after its type", c.Name(), typ)
		if zero, _ := constant.Int64Val(constant.ToInt(c.Val())); c.Val().Kind() != constant.Int || zero != 0 ||
			s.simulator() || s.path+"."+typ == "idm.State" {
			// a simulator has the numbers of its vendor; so has idm.State, which is never read without an error beside it
			continue
		}
		if slices.Contains([]string{"State", "Status", "Role", "Answer", "Quorum"}, words(typ)[len(words(typ))-1]) &&
			typ != "ExitStatus" {
			assert.True(t, strings.HasSuffix(c.Name(), "Unknown") || c.Name() == "StatusNotReached",
				"%s is what a %s is before anybody looked", c.Name(), typ)
		}
	}
}

// No boolean parameters, no options as functions, and a procedure comes with an error.
func (s source) signatures(t *testing.T) {
	look := func(name string, sig *types.Signature) {
		for p := range sig.Params().Variables() {
			basic, ok := p.Type().Underlying().(*types.Basic)
			assert.False(t, ok && basic.Kind() == types.Bool, "%s: parameter %s is a bool", name, p.Name())
		}
		if r := sig.Results(); r.Len() > 0 && fromHere(r.At(0).Type(), "", "Procedure") && s.path != "" && !s.simulator() {
			assert.Equal(t, 2, r.Len(), "%s: the options of a procedure are checked when it is made", name)
		}
	}
	for _, o := range s.exported() {
		switch o := o.(type) {
		case *types.Func:
			look(o.Name(), o.Signature())
			assert.False(t, strings.HasPrefix(o.Name(), "With") && !s.simulator(), "%s: options are fields of a Config",
				o.Name())
		case *types.TypeName:
			if n, ok := types.Unalias(o.Type()).(*types.Named); ok {
				for m := range n.Methods() {
					if m.Exported() {
						look(o.Name()+"."+m.Name(), m.Signature())
					}
				}
			}
		}
	}
}

// What connections have in common has one name and one type everywhere.
func (s source) configurations(t *testing.T) {
	for _, o := range s.exported() {
		typ, ok := o.Type().Underlying().(*types.Struct)
		if _, isType := o.(*types.TypeName); !ok || !isType || !strings.HasSuffix(o.Name(), "Config") {
			continue
		}
		for f := range typ.Fields() {
			if !f.Exported() {
				continue
			}
			kind := types.TypeString(f.Type(), nil)
			for name, fits := range map[string]bool{
				"Logger": kind == "*log/slog.Logger",
				"SSH":    fromHere(f.Type(), "", "SSH"),
				"TLS":    fromHere(f.Type(), "", "TLS"),
				"Dial":   kind == "func(ctx context.Context, network string, address string) (net.Conn, error)",
			} {
				assert.Equal(t, fits, f.Name() == name, "%s.%s is a %s", o.Name(), f.Name(), kind)
			}
			assert.NotContains(t, []string{"*crypto/tls.Config", "golang.org/x/crypto/ssh.HostKeyCallback"}, kind,
				"%s.%s: trust is failover.TLS or failover.SSH", o.Name(), f.Name())
			if kind == "bool" && strings.Contains(f.Name(), "Insecure") {
				assert.True(t, strings.HasPrefix(f.Name(), "Insecure"), "%s.%s says loudly what it is", o.Name(), f.Name())
			}
		}
	}
}

// No code selects a step by the text of its ID or by its place in a list: a step that was added elsewhere would be
// missed.
func (s source) steps(t *testing.T) {
	if s.path == "" || s.simulator() {
		return // the engine compares IDs with each other; tests name the step they mean
	}
	isID := func(e ast.Expr) bool {
		sel, ok := e.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "ID" {
			return false
		}
		of := s.info.Types[sel.X].Type
		return slices.ContainsFunc([]string{"Step", "StepInfo", "PlanStep", "StepReport", "UndoStep"},
			func(name string) bool { return fromHere(of, "", name) })
	}
	isConstant := func(e ast.Expr) bool {
		v := s.info.Types[e].Value
		return v != nil && v.ExactString() != `""`
	}
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				assert.False(t, isID(n.X) && isConstant(n.Y) || isID(n.Y) && isConstant(n.X),
					"%s selects a step by its ID", s.at(n))
			case *ast.SwitchStmt:
				assert.False(t, n.Tag != nil && isID(n.Tag), "%s selects steps by their IDs", s.at(n))
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || s.info.Uses[sel.Sel] == nil || s.info.Uses[sel.Sel].Pkg() == nil ||
					s.info.Uses[sel.Sel].Pkg().Path() != "strings" {
					return true
				}
				assert.False(t, slices.ContainsFunc(n.Args, isID) && sel.Sel.Name != "Join" && sel.Sel.Name != "Compare",
					"%s looks into the ID of a step", s.at(n))
			case *ast.IndexExpr:
				if list, ok := s.info.Types[n.X].Type.(*types.Slice); ok {
					assert.False(t, fromHere(list.Elem(), "", "Step") && isConstant(n.Index), "%s selects a step by its place",
						s.at(n))
				}
			}
			return true
		})
	}
}
