// Package drivercfg reads and writes the driver-configuration XML that Designer ("Export to Configuration File") and
// iManager write and import.
//
// One file holds one driver with the server-specific values of one server and none of its secrets: in their places
// stand query elements, which an importer has to ask for. The shape was learned from published exports; no vendor
// page describes it, so what a reader does not know it skips and reports instead of refusing.
//
// Contents of XML attributes keep their bytes. A policy is cut out of the file as it stands, never parsed and
// printed again. What the format has no room for in front of or behind the root element (an XML declaration, white
// space) is written as a processing instruction inside the enclosing element, which other importers ignore.
//
// Hostile files are refused with file, line, element and reason: document types and entities, more depth, attributes
// or bytes than the limits allow, encodings other than UTF-8, names bound twice, and files that end too early.
package drivercfg
