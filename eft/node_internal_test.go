package eft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestANodeHasAVersionByEverySign(t *testing.T) {
	v, old := Version{8, 1, 0, 16}, Version{8, 1, 0, 3}
	entry := func(versions ...Version) (list []InstalledProduct) {
		for _, v := range versions {
			list = append(list, InstalledProduct{Name: "EFT Server", Version: v})
		}
		return list
	}
	service := []Service{{Name: "EFT Server"}}
	for name, tt := range map[string]struct {
		f    Facts
		want bool
	}{
		"all":                            {Facts{Program: v, Products: entry(v), Services: service}, true},
		"an entry of three parts":        {Facts{Program: v, Products: entry(Version{8, 1, 0}), Services: service}, true},
		"the old program, the new entry": {Facts{Program: old, Products: entry(v), Services: service}, false},
		"the old program of three parts": {Facts{Program: Version{8, 1, 0}, Products: entry(Version{8, 1, 0}), Services: service}, false},
		"the new program, the old entry": {Facts{Program: v, Products: entry(old), Services: service}, false},
		"an entry that was left behind":  {Facts{Program: v, Products: entry(v, old), Services: service}, false},
		"no entry":                       {Facts{Program: v, Services: service}, false},
		"no service":                     {Facts{Program: v, Products: entry(v)}, false},
		"two services":                   {Facts{Program: v, Products: entry(v), Services: append(service, service...)}, false},
		"nothing":                        {Facts{}, false},
	} {
		require.Equal(t, tt.want, tt.f.has(v), name)
	}
}
