//! Why one entry of a batch was refused.

/// The closed list of entry codes of `POST /v1/sensors/readings`. Stable: clients switch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryCode {
    /// No such equipment within this integration; another organisation's equipment answers the same (S274).
    UnknownEquipment,
    /// The equipment is retired (S281).
    EquipmentRetired,
    /// Neither `equipment_id` nor `external_id`.
    EquipmentMissing,
    /// Both `equipment_id` and `external_id`.
    EquipmentAmbiguous,
    /// Not in the metric table.
    UnknownMetric,
    /// This kind of equipment may not report this metric (A36).
    MetricNotAllowed,
    /// The unit does not fit the metric.
    UnitMismatch,
    /// `value` absent or null.
    ValueMissing,
    /// `value` is not a finite number.
    ValueNotNumber,
    /// Outside the metric's plausible range.
    ValueOutOfRange,
    /// An integer beyond ±2^53, or more than 17 significant digits.
    PrecisionLoss,
    /// Not strict RFC 3339, nor an epoch number.
    TimestampInvalid,
    /// Before the window.
    TimestampTooOld,
    /// After the window.
    TimestampInFuture,
    /// A field given twice within the entry.
    DuplicateField,
    /// The entry is not a JSON object.
    NotAnObject,
    /// A string or the whole entry is longer than its limit.
    TooLarge,
    /// `id` is not a string within its limits.
    IdInvalid,
    /// `quality` is not one of the three.
    QualityInvalid,
}

impl EntryCode {
    /// Every code, in the order of the contract.
    pub const ALL: [Self; 19] = [
        Self::UnknownEquipment,
        Self::EquipmentRetired,
        Self::EquipmentMissing,
        Self::UnknownMetric,
        Self::MetricNotAllowed,
        Self::UnitMismatch,
        Self::ValueMissing,
        Self::ValueNotNumber,
        Self::ValueOutOfRange,
        Self::PrecisionLoss,
        Self::TimestampInvalid,
        Self::TimestampTooOld,
        Self::TimestampInFuture,
        Self::DuplicateField,
        Self::NotAnObject,
        Self::TooLarge,
        Self::EquipmentAmbiguous,
        Self::IdInvalid,
        Self::QualityInvalid,
    ];

    /// The code on the wire and the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownEquipment => "unknown_equipment",
            Self::EquipmentRetired => "equipment_retired",
            Self::EquipmentMissing => "equipment_missing",
            Self::EquipmentAmbiguous => "equipment_ambiguous",
            Self::UnknownMetric => "unknown_metric",
            Self::MetricNotAllowed => "metric_not_allowed",
            Self::UnitMismatch => "unit_mismatch",
            Self::ValueMissing => "value_missing",
            Self::ValueNotNumber => "value_not_number",
            Self::ValueOutOfRange => "value_out_of_range",
            Self::PrecisionLoss => "precision_loss",
            Self::TimestampInvalid => "timestamp_invalid",
            Self::TimestampTooOld => "timestamp_too_old",
            Self::TimestampInFuture => "timestamp_in_future",
            Self::DuplicateField => "duplicate_field",
            Self::NotAnObject => "not_an_object",
            Self::TooLarge => "too_large",
            Self::IdInvalid => "id_invalid",
            Self::QualityInvalid => "quality_invalid",
        }
    }

    /// Whether sending the same entry again later can succeed: the cause lies in the registry or the clock, not in
    /// the entry itself.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::TimestampInFuture)
    }

    /// What is wrong, for the documentation.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::UnknownEquipment => "The integration has no equipment with this id or external id.",
            Self::EquipmentRetired => "The equipment is retired: its history stays, it takes no further readings.",
            Self::EquipmentMissing => "Neither equipment_id nor external_id is given.",
            Self::EquipmentAmbiguous => "Both equipment_id and external_id are given.",
            Self::UnknownMetric => "The metric is not in the service's table, or not given.",
            Self::MetricNotAllowed => "This kind of equipment may not report this metric.",
            Self::UnitMismatch => "The unit is not one of this metric's.",
            Self::ValueMissing => "value is absent or null.",
            Self::ValueNotNumber => "value is not a finite JSON number.",
            Self::ValueOutOfRange => "value lies outside the metric's plausible range.",
            Self::PrecisionLoss => "value is an integer beyond ±2^53 or has more than 17 significant digits.",
            Self::TimestampInvalid => "timestamp is neither strict RFC 3339 nor an epoch number.",
            Self::TimestampTooOld => "timestamp lies before the window that the message prints.",
            Self::TimestampInFuture => "timestamp lies after the window that the message prints.",
            Self::DuplicateField => "A field is given twice within the entry.",
            Self::NotAnObject => "The entry is not a JSON object.",
            Self::TooLarge => "A text of the entry, or the whole entry, is longer than its limit.",
            Self::IdInvalid => "id is not a text within its limits.",
            Self::QualityInvalid => "quality is not good, uncertain or bad.",
        }
    }

    /// What the sender can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::UnknownEquipment => {
                "Register the equipment first, or correct the id; external ids are compared byte for byte."
            }
            Self::EquipmentRetired => "Stop sending for it, or have it returned to service.",
            Self::EquipmentMissing | Self::EquipmentAmbiguous => "Give exactly one of equipment_id and external_id.",
            Self::UnknownMetric => "Use a metric of the table, spelled exactly.",
            Self::MetricNotAllowed => "Send the metric for equipment of a kind that measures it.",
            Self::UnitMismatch => "Leave unit out, or use one that the metric lists.",
            Self::ValueMissing => "Give a value, or leave the entry out.",
            Self::ValueNotNumber => "Give a plain JSON number; NaN and texts are none.",
            Self::ValueOutOfRange => "Check the sensor and the unit.",
            Self::PrecisionLoss => "Round the value: a sensor does not measure that finely.",
            Self::TimestampInvalid => "Send e.g. 2026-01-05T10:00:00Z, or whole epoch seconds.",
            Self::TimestampTooOld => "Ask the administrator for a backfill grant to deliver history.",
            Self::TimestampInFuture => "Check the sender's clock; the entry is accepted once its time has come near.",
            Self::DuplicateField => "Give every field once.",
            Self::NotAnObject => "Send an object with the fields of a reading.",
            Self::TooLarge => "Shorten the text.",
            Self::IdInvalid => "Send a text of 1 to 128 characters, or leave id out.",
            Self::QualityInvalid => "Send good, uncertain or bad, or leave quality out.",
        }
    }
}
