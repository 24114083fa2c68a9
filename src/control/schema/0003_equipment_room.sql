-- The rooms of an organisation, and the equipment of one.
CREATE INDEX equipment_by_room ON equipment (organisation_id, room, number) WHERE room IS NOT NULL;
