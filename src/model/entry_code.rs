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
}
