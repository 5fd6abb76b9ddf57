namespace Irpwright.Guest.Tests;

/// <summary>The tests of this project are compiled twice, for a processor that checks memory and for one that does not.</summary>
static class CheckedMode
{
    /// <summary>Which of the two this is.</summary>
    public const bool Here =
#if CHECKED
        true;
#else
        false;
#endif
}
