// Package drivercfg reads and writes the driver-configuration XML that Designer ("Export to Configuration File") and
// iManager write and import.
//
// One file holds one driver with the server-specific values of one server and none of its secrets: in their places
// stand query elements, which an importer has to ask for. A password that somebody wrote there by hand is not taken
// over. The shape was learned from published exports; no vendor page describes it, so what a reader does not know, an
// element or an attribute of one, it skips and reports instead of refusing. So it does with the stamps of packages.
//
// A file of a whole driver set, or of a part of a driver, is refused for what it is.
//
// Contents of XML attributes keep their bytes. A policy is cut out of the file as it stands, never parsed and
// printed again. A plain XML declaration in front of it is left out, because the file has the same one. What else
// stands in front of it is written as a processing instruction inside the enclosing element; that other importers
// ignore it is not proven.
//
// Hostile files are refused with file, line, element and reason: document types and entities, more depth, attributes
// or bytes than the limits allow, encodings other than UTF-8, names bound twice, and files that end too early.
package drivercfg
