using System.Globalization;
using System.Reflection;
using Irpwright.Wdk.Tests.Layouts;

namespace Irpwright.Wdk.Tests.Constants;

/// <summary>Goal: constants have the WDK's values. Method: evaluate each name that the mingw-w64 headers know.</summary>
public sealed class MingwConstantTests
{
    [Fact]
    public void Values_are_those_of_compiled_headers()
    {
        Assert.SkipUnless(MingwHeaders.Present, $"{MingwHeaders.Compiler} with the headers of ddk/ is not installed");
        HashSet<string> words = MingwHeaders.Words();
        (string Name, long Value)[] known = [.. Declared().Where(constant => words.Contains(constant.Name))];

        long[] compiled = MingwHeaders.Evaluate([.. known.Select(constant => constant.Name)]);

        Assert.True(known.Length > 1000, $"only {known.Length} names are known to the headers");
        Assert.Empty(known.Zip(compiled)
            .Where(pair => (uint)pair.First.Value != (uint)pair.Second)
            .Select(pair => $"{pair.First.Name} is 0x{pair.First.Value:X}, in the headers 0x{pair.Second:X}"));
    }

    /// <summary>What those headers do not define as constants: ours, bit fields, and the kernel's own.</summary>
    static readonly Type[] NotInHeaders = [typeof(PageAccess), typeof(DEVICE_CAPABILITY_FLAGS), typeof(KOBJECTS)];

    static IEnumerable<(string Name, long Value)> Declared()
    {
        IEnumerable<Type> types = typeof(NTSTATUS).Assembly.GetExportedTypes()
            .Where(type => type == typeof(Wdk.Constants) || (type.IsEnum && !NotInHeaders.Contains(type)));
        foreach (FieldInfo field in types.SelectMany(type => type.GetFields(BindingFlags.Public | BindingFlags.Static)))
            if (field.IsLiteral && field.GetRawConstantValue() is { } value && value is not bool)
                yield return (field.Name, value is ulong big ? unchecked((long)big) : Convert.ToInt64(value, CultureInfo.InvariantCulture));
    }
}
