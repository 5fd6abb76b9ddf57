using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Irpwright.Wdk.Tests.Layouts;

/// <summary>Evaluates constant C expressions over the mingw-w64 driver headers. The compiler's assembly is read; nothing is run.</summary>
static partial class MingwHeaders
{
    public const string Compiler = "x86_64-w64-mingw32-gcc";

    /// <summary>Whether the compiler is installed and has the driver headers.</summary>
    public static bool Present { get; } = HeaderFolder() is not null;

    const string Includes = """
        #define WINVER 0x0A00
        #define _WIN32_WINNT 0x0A00
        #define NTDDI_VERSION 0x0A000000
        #include <stddef.h>
        #include <ntstatus.h>
        #include <ddk/ntifs.h>
        #include <ddk/csq.h>
        #include <ddk/srb.h>
        #include <ntdddisk.h>
        #include <bugcodes.h>

        """;

    /// <summary>Every word of the headers, names of macros included.</summary>
    public static HashSet<string> Words() =>
        [.. Word().Matches(Run(Includes, "-E", "-dD", "-w", "-isystem", HeaderFolder()!)).Select(match => match.Value)];

    /// <summary>The value of each expression, in order.</summary>
    public static long[] Evaluate(IReadOnlyList<string> expressions)
    {
        StringBuilder source = new(Includes);
        for (int i = 0; i < expressions.Count; i++)
            source.Append(CultureInfo.InvariantCulture, $"const long long value{i} = (long long)({expressions[i]});\n");
        string assembly = Run(source.ToString(), "-S", "-w", "-isystem", HeaderFolder()!);
        Dictionary<string, long> values = Quadword().Matches(assembly).ToDictionary(
            match => match.Groups["name"].Value,
            match => match.Groups["value"].Success ? long.Parse(match.Groups["value"].Value, CultureInfo.InvariantCulture) : 0);
        return [.. Enumerable.Range(0, expressions.Count).Select(i => values[$"value{i}"])];
    }

    /// <summary>ntifs.h includes its neighbours without their folder, so that must be on the search path.</summary>
    static string? HeaderFolder()
    {
        try
        {
            string dependencies = Run("#include <ddk/ntifs.h>\n", "-M", "-MG");
            string? header = dependencies.Split([' ', '\\', '\n'], StringSplitOptions.RemoveEmptyEntries).FirstOrDefault(path => path.EndsWith("ddk/ntifs.h", StringComparison.Ordinal));
            return Path.GetDirectoryName(header) is { Length: > 0 } folder && Path.IsPathRooted(folder) ? folder : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null; // no such program
        }
    }

    static string Run(string source, params string[] options)
    {
        ProcessStartInfo start = new(Compiler, [.. options, "-x", "c", "-o", "-", "-"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        process.StandardInput.Write(source);
        process.StandardInput.Close();
        process.WaitForExit();
        if (process.ExitCode != 0) throw new InvalidOperationException($"{Compiler} failed:\n{errors.Result}");
        return output.Result;
    }

    [GeneratedRegex(@"^(?<name>value\d+):\s+\.(?:quad\s+(?<value>-?\d+)|space\s+8)", RegexOptions.Multiline)]
    private static partial Regex Quadword();

    [GeneratedRegex(@"\b[A-Za-z_]\w*")]
    private static partial Regex Word();
}
