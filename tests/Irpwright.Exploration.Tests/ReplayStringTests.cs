namespace Irpwright.Exploration.Tests;

/// <summary>Goal: a schedule survives as text, and a text that does not is told from one that does, with the place.</summary>
public sealed class ReplayStringTests
{
    static Schedule Some(int steps) => new(
        [.. Enumerable.Range(0, steps).Select(i => i % 7 == 3
            ? new ScheduleStep(null, 0, $"site {i % 3}", 5, i % 5)
            : new ScheduleStep((SchedulingPoint)(i % 8), 1 + i * i % 3, null, 1 + i % 6, i % (1 + i % 6)))],
        movesTimeEarly: true);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(17)]
    [InlineData(40)]
    [InlineData(1000)]
    public void A_schedule_is_read_as_it_was_written(int steps)
    {
        Schedule schedule = Some(steps);
        Schedule read = Schedule.Parse(schedule.ToString());
        Assert.Equal(schedule.Steps, read.Steps);
        Assert.True(read.MovesTimeEarly);
    }

    [Fact]
    public void Seventeen_steps_fit_into_half_a_line()
    {
        var steps = Enumerable.Range(0, 17).Select(i => new ScheduleStep(SchedulingPoint.Call, 1 + i * i % 3, null, 1 + i % 4, i % (1 + i % 4)));
        Assert.InRange(new Schedule([.. steps], true).ToString().Length, 1, 75);
    }

    [Fact]
    public void Many_similar_steps_take_less_than_a_letter_each()
    {
        var schedule = new Schedule([.. Enumerable.Range(0, 5000).Select(i => new ScheduleStep(SchedulingPoint.Call, 1 + i / 10 % 2, null, 2, 0))], false);
        string text = schedule.ToString();
        Assert.InRange(text.Length, 1, 1000);
        Assert.Equal(schedule.Steps, Schedule.Parse(text).Steps);
    }

    [Fact]
    public void Every_damaged_letter_is_found_and_its_place_named()
    {
        string text = Some(40).ToString();
        for (int i = 3; i < text.Length; i++)
        {
            string damaged = text[..i] + (text[i] == 'x' ? 'y' : 'x') + text[(i + 1)..];
            var e = Assert.Throws<FormatException>(() => Schedule.Parse(damaged));
            Assert.StartsWith("The replay string is ", e.Message, StringComparison.Ordinal);
        }
        // One letter checks what is before it: damage in the first group is found there.
        var first = Assert.Throws<FormatException>(() => Schedule.Parse(text[..8] + (text[8] == 'x' ? 'y' : 'x') + text[9..]));
        Assert.Equal("The replay string is damaged between characters 4 and 19.", first.Message);
    }

    [Fact]
    public void Every_truncation_is_found()
    {
        string text = Some(40).ToString();
        for (int length = 0; length < text.Length; length++) Assert.Throws<FormatException>(() => Schedule.Parse(text[..length]));
    }

    [Theory]
    [InlineData("", "This is no replay string: it must begin with 'iw1'.")]
    [InlineData("hello", "This is no replay string: it must begin with 'iw1'.")]
    [InlineData("iw9AAAA", "The replay string begins with 'iw9': it was made by another version, which this one cannot read.")]
    [InlineData("iw1AA!A", "The replay string is damaged at character 6: '!' does not occur in one.")]
    [InlineData("iw1", "The replay string is incomplete: it ends too early, after character 3.")]
    public void What_is_no_replay_string_is_told_so(string text, string message) =>
        Assert.Equal(message, Assert.Throws<FormatException>(() => Schedule.Parse(text)).Message);

    [Fact]
    public void Random_letters_are_never_a_schedule()
    {
        var random = new Random(1);
        const string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for (int i = 0; i < 20_000; i++)
        {
            string text = "iw1" + string.Concat(Enumerable.Range(0, random.Next(60)).Select(_ => letters[random.Next(64)]));
            Assert.Throws<FormatException>(() => Schedule.Parse(text));
        }
    }
}
