-- Pictures of events. The file itself is in the content store, under its CID.
CREATE TABLE event_images (
    venue_id   TEXT    NOT NULL,
    event_id   TEXT    NOT NULL,
    cid        TEXT    NOT NULL,                         -- CIDv1 in base32
    media_type TEXT    NOT NULL,
    bytes      INTEGER NOT NULL,
    width      INTEGER NOT NULL,                         -- pixels
    height     INTEGER NOT NULL,
    set_at     INTEGER NOT NULL,
    PRIMARY KEY (venue_id, event_id)
) STRICT, WITHOUT ROWID;

-- The picture that a ticket got from its event when it was accepted; null for one of its own, or none. A ticket's metadata
-- follows from what was sold and from this, and so never changes when the event's picture does.
ALTER TABLE mints ADD COLUMN image_uri TEXT;             -- ipfs://CID
ALTER TABLE mints ADD COLUMN image_type TEXT;            -- its media type
