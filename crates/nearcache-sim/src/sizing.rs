//! The knee of a sizing table: beyond it more room buys little.

use crate::report::SizingRow;

/// Marks the row that lies farthest above the straight line from the first row to the last, capacities being
/// logarithmic (the Kneedle method of Satopää et al., 2011, without smoothing).
pub(crate) fn mark_knee(rows: &mut [SizingRow]) {
    let [first, .., last] = rows else {
        return;
    };
    let at = |row: &SizingRow| (row.capacity.max(1) as f64).ln();
    let (x0, y0) = (at(first), first.hit_rate);
    let slope = (last.hit_rate - y0) / (at(last) - x0);
    let above = |row: &SizingRow| row.hit_rate - y0 - slope * (at(row) - x0);
    let knee = rows
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| above(a).total_cmp(&above(b)))
        .map(|(number, _)| number);
    if let Some(row) = knee.and_then(|number| rows.get_mut(number)) {
        row.knee = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_is_where_the_curve_bends() {
        let rates = [0.3, 0.6, 0.8, 0.9, 0.92, 0.93, 0.935];
        let mut rows: Vec<SizingRow> = (0..)
            .zip(rates)
            .map(|(power, hit_rate)| SizingRow {
                capacity: 100 << power,
                about_bytes: 0,
                hit_rate,
                l2_reads_per_read: 1.0 - hit_rate,
                knee: false,
            })
            .collect();
        mark_knee(&mut rows);
        let marked: Vec<_> = rows.iter().filter(|row| row.knee).collect();
        assert_eq!((marked.len(), marked[0].capacity), (1, 400));
        mark_knee(&mut []);
    }
}
